"""One API server a test process, with the definition of Tenant in place; a namespace a test."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from fluxpay.embedded.postgres import EmbeddedPostgres
from fluxpay.embedded.valkey import EmbeddedValkey
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubeconfig import write_kubeconfig
from tests.cluster.kubectl import Kubectl
from tests.cluster.operating import Launch, Operator, Site, launch_for, prepare
from tests.cluster.shop import Shop
from tests.conftest import fresh_database
from tests.e2e.serving import Service, serving

PUBLISHED_S_MAX = 30
DEFINITIONS = Path(__file__).parents[2] / "charts/fluxpay/files/crds"


@pytest.fixture(scope="session")
def bare_control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A running API server that knows nothing of FluxPay."""
    plane = ControlPlane.start(tmp_path_factory.mktemp("control-plane"))
    yield plane
    plane.stop()


@pytest.fixture(scope="session")
def control_plane(bare_control_plane: ControlPlane) -> ControlPlane:
    """A running API server that knows Tenants."""
    admin = Kubectl(bare_control_plane.admin_kubeconfig, "default")
    admin.run("apply", f"--filename={DEFINITIONS}")
    admin.run("wait", "crd/tenants.fluxpay.io", "--for=condition=Established")
    # The schema is published a moment after the definition is established.
    deadline_s = time.monotonic() + PUBLISHED_S_MAX
    while admin.ask("explain", "tenant.spec").code != 0 and time.monotonic() < deadline_s:
        time.sleep(0.1)
    return bare_control_plane


@pytest.fixture
def namespace(control_plane: ControlPlane) -> str:
    """A namespace that this test has to itself; nothing collects it, and nobody minds."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    Kubectl(control_plane.admin_kubeconfig, "default").run("create", "namespace", name)
    return name


@pytest.fixture
def kubectl(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Kubectl:
    """Give a kubectl that may do everything, in the test's own namespace."""
    path = tmp_path / "admin.kubeconfig"
    token = control_plane.admin_token
    write_kubeconfig(path, control_plane.endpoint, token=token, namespace=namespace)
    return Kubectl(path, namespace)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(
    postgres: EmbeddedPostgres, template: str, valkey: EmbeddedValkey
) -> AsyncIterator[Service]:
    """A running `fluxpay serve`: tenants do not see one another, so tests may share it."""
    with fresh_database(postgres, template) as database:
        async with serving(database, valkey.url) as running:
            yield running


@pytest.fixture
def site(control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path) -> Site:
    """The test's namespace, with an account that has the operator's shipped rights in it."""
    return prepare(control_plane, kubectl, tmp_path)


@pytest.fixture
def launch(site: Site, service: Service) -> Launch:
    """How to start operators that serve the test's namespace."""
    return launch_for(site, service)


@pytest.fixture
async def operator(launch: Launch) -> AsyncIterator[Operator]:
    """A running operator."""
    async with launch.running() as running:
        yield running


@pytest.fixture
def shop(kubectl: Kubectl, service: Service) -> Shop:
    """A tenant that is not there yet."""
    return Shop(kubectl, service)
