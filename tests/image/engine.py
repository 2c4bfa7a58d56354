"""A container engine for the tests: the one that answers here, or one of our own for this run.

Knows: how dockerd is started beside whatever else the machine runs, in folders and a mount
namespace of its own, without touching its firewall; and how the client and Compose are called.
Must not know: which images there are.

Our own takes root, and Debian's packages docker.io and docker-compose; see `packages`.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fluxpay.embedded import launcher
from tests.image import packages
from tests.image.telling import Tell

FOLDER_PREFIX: Final = "fluxpay-engine-"
READY_TIMEOUT_S: Final = 60
STOP_TIMEOUT_S: Final = 60
# The bridge networks of Compose work without rules of the firewall: names are resolved inside, and
# ports are published by a process. A build uses the network of the machine.
OWN_FLAGS: Final = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false")


class EngineFailed(Exception):
    """The engine, or a command given to it, failed; the text holds what it said."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answers.

    Args:
        docker: the client. compose: the command of Compose, as a program with its first arguments.
        environ: what both are run with.
    """

    docker: str
    compose: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)

    def run(self, *arguments: str | Path, input_text: str | None = None) -> str:
        """Run one command of the client, and give what it wrote to stdout.

        Raises: EngineFailed with all that it said.
        """
        done = self.attempt(*arguments, input_text=input_text)
        if done.returncode != 0:
            told = f"{done.stdout[-4_000:]}{done.stderr[-4_000:]}"
            raise EngineFailed(f"docker {arguments[0]} exited with {done.returncode}: {told}")
        return done.stdout

    def attempt(
        self, *arguments: str | Path, input_text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one command of the client that may fail."""
        return subprocess.run(
            [self.docker, *arguments],
            env=self.environ,
            input=input_text,
            stdin=subprocess.DEVNULL if input_text is None else None,
            capture_output=True,
            text=True,
            check=False,
        )

    def has(self, image: str) -> bool:
        """Tell whether an image of this name is there."""
        return self.attempt("image", "inspect", image).returncode == 0


@contextmanager
def running(tell: Tell) -> Iterator[Engine]:
    """Give an engine; one that was started for this is ended with the block.

    Raises: EngineFailed or packages.NotInstalled, in words that say what to do.
    """
    found = _answering()
    if found is not None:
        tell("using the container engine that runs here")
        yield found
        return
    packages.install(tell)
    _clear_away_the_dead()
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    try:
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield from _own(folder, tell)
    finally:
        shutil.rmtree(folder)


def _clear_away_the_dead() -> None:
    """Remove what a run left that was killed; its engine ended with it, and so did its lock."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        with suppress(FileNotFoundError, BlockingIOError):
            with (folder / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)


def _answering() -> Engine | None:
    docker = shutil.which("docker")
    if docker is None:
        return None
    for compose in ((docker, "compose"), ("docker-compose",)):
        engine = Engine(docker, compose, {**os.environ, "DOCKER_BUILDKIT": "1"})
        if shutil.which(compose[0]) is None or engine.attempt("version").returncode != 0:
            continue
        if subprocess.run([*compose, "version"], capture_output=True, check=False).returncode == 0:
            return engine
    return None


def _own(folder: Path, tell: Tell) -> Iterator[Engine]:
    socket = folder / "socket"
    # What it mounts goes with it, even if it is killed, and does not hold its folders back.
    command = [packages.program("unshare"), "--mount", "--propagation", "private"]
    command += [packages.program("dockerd"), *OWN_FLAGS]
    command += ["--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")]
    command += ["--pidfile", str(folder / "pid"), "--host", f"unix://{socket}"]
    # Debian's own client: it builds with the engine's own BuildKit, and needs no plugin for it.
    engine = Engine(
        "/usr/bin/docker",
        (packages.program("docker-compose"),),
        {**os.environ, "DOCKER_HOST": f"unix://{socket}", "DOCKER_BUILDKIT": "1"},
    )
    log = folder / "log"
    with log.open("wb") as file:
        # Whatever becomes of this process, the engine and its containers end with it.
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", launcher.__file__, "--signal", "TERM", "--", *command],
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while engine.attempt("version").returncode != 0:
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise EngineFailed(f"dockerd does not start here: {log.read_text()[-2_000:]}")
            time.sleep(0.1)
        tell(f"started a container engine of our own, pid {process.pid}")
        yield engine
    finally:
        _sweep(engine)
        process.terminate()
        process.wait(STOP_TIMEOUT_S)


def _sweep(engine: Engine) -> None:
    """Leave no container and no bridge behind, which the kernel would keep."""
    left = engine.attempt("ps", "--all", "--quiet").stdout.split()
    if left:
        engine.attempt("rm", "--force", "--volumes", *left)
    engine.attempt("network", "prune", "--force")
