"""One engine, one set of base images and one built image for all tests here.

They take minutes, so what needs them stands in one file, which one process of the run gets.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.image import packages, product, stand_ins
from tests.image.engine import Engine, EngineFailed, running
from tests.image.telling import Tell, teller

IMAGE = "fluxpay:local"


@pytest.fixture(scope="session")
def tell(request: pytest.FixtureRequest) -> Tell:
    """Write a line to the terminal."""
    return teller(request.config)


@pytest.fixture(scope="session")
def engine(tell: Tell) -> Iterator[Engine]:
    """An engine that has every image the Dockerfile and the compose file ask for."""
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(running(tell))
            stand_ins.supply(engine, tell)
        except (EngineFailed, packages.NotInstalled) as error:
            pytest.fail(str(error), pytrace=False)
        yield engine


@pytest.fixture(scope="session")
def build_options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What `docker build` is told beside the Dockerfile: secrets, and nothing else."""
    return product.write_build_secrets(tmp_path_factory.mktemp("secrets"))


@pytest.fixture(scope="session")
def image(engine: Engine, build_options: list[str], tell: Tell) -> str:
    """The image, built from the checkout."""
    tell("building the image")
    product.build(engine, IMAGE, build_options)
    facts = product.facts(engine, IMAGE)
    base = product.facts(engine, stand_ins.base_image())
    layers, base_layers = len(facts["RootFS"]["Layers"]), len(base["RootFS"]["Layers"])
    own_bytes = facts["Size"] - base["Size"]
    tell(
        f"{facts['Size'] / 1e6:.0f} MB in {layers} layers; "
        f"ours are {layers - base_layers} of them, {own_bytes / 1e6:.0f} MB"
    )
    return IMAGE
