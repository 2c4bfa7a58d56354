"""Images by the names that the Dockerfile and the compose file ask for, registry or not.

Where no registry answers they are made from Debian's packages: a base with Python, and one system
with Postgres, Valkey and Prometheus that stands in for each. The systems are kept in .venv, so that
a machine makes each of them once.

Knows: mmdebstrap, and what makes a system of packages into an image.
Must not know: what is built upon them.
"""

import hashlib
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.image import packages
from tests.image.engine import Engine, EngineFailed
from tests.image.telling import Tell

ROOT: Final = Path(__file__).parents[2]
KEPT: Final = ROOT / ".venv" / "stand-ins"
RECIPES: Final = Path(__file__).with_name("recipes")
SUITE: Final = "trixie"
# Documentation and translations have no part in what is tested.
LEAN: Final = tuple(
    f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "man", "locale")
)
# A database of the package's own would never be used.
NO_CLUSTER: Final = (
    '--essential-hook=mkdir -p "$1/etc/postgresql-common" && echo "create_main_cluster = false" '
    '> "$1/etc/postgresql-common/createcluster.conf"'
)


@dataclass(frozen=True, slots=True)
class System:
    """A root file system of Debian packages."""

    name: str
    options: tuple[str, ...]

    @property
    def archive(self) -> Path:
        """Give where it is kept; another recipe has another place."""
        digest = hashlib.sha256("\n".join((SUITE, *self.options)).encode()).hexdigest()
        return KEPT / f"{self.name}-{digest[:16]}.tar"


STOOD_IN_FOR: Final = ("postgres", "valkey", "prometheus")
PYTHON: Final = System("python", (*LEAN, "--include=python3,python3-pip,python3-venv"))
SERVERS: Final = System(
    "servers", (*LEAN, "--include=postgresql-17,valkey-server,prometheus", NO_CLUSTER)
)


def base_image() -> str:
    """Give the name of the base that the Dockerfile asks for."""
    found = re.search(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def server_images() -> dict[str, str]:
    """Give the names of the servers' images in the compose file, by their service."""
    text = (ROOT / "deploy" / "compose.yaml").read_text()
    found = dict(re.findall(r"^  (\w+):\n    image: (\S+)$", text, re.MULTILINE))
    return {service: found[service] for service in STOOD_IN_FOR}


def supply(engine: Engine, tell: Tell) -> None:
    """Bring every image that is asked for: there already, from a registry, or made here.

    Raises: EngineFailed or packages.NotInstalled.
    """
    wanted = [base_image(), *server_images().values()]
    missing = [name for name in wanted if not engine.has(name)]
    if all(engine.attempt("pull", "--quiet", name).returncode == 0 for name in missing):
        return
    tell("no registry answers, so base and servers are made of Debian packages")
    packages.install(tell)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda system: _make(system, tell), (PYTHON, SERVERS)))
    engine.run("import", "--change", 'CMD ["python3"]', PYTHON.archive, base_image())
    engine.run("import", SERVERS.archive, "fluxpay-stand-in")
    for service, name in server_images().items():
        recipe = RECIPES / f"{service}.Dockerfile"
        options = ("--quiet", "--network=none", "--tag", name, "--file", recipe)
        engine.run("build", *options, RECIPES)


def _make(system: System, tell: Tell) -> None:
    if system.archive.exists():
        return
    tell(f"making the system {system.name}; this takes a minute, once")
    KEPT.mkdir(exist_ok=True)
    for outdated in KEPT.glob(f"{system.name}-*"):
        outdated.unlink()
    unfinished = system.archive.with_suffix(".new")
    command = [packages.program("mmdebstrap"), "--quiet", "--format=tar", "--variant=minbase"]
    done = subprocess.run(
        [*command, *system.options, SUITE, unfinished],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise EngineFailed(f"mmdebstrap could not make {system.name}: {done.stdout[-2_000:]}")
    unfinished.rename(system.archive)
