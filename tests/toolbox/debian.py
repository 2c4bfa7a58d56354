"""Programs from Debian's packages, downloaded and unpacked, but not installed.

Knows apt, and that the programs of these packages need nothing but the C library. Debian says which
version it is, and its signatures that it is Debian's; a program on PATH is taken as it is. To add
one: add a row here.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from tests.toolbox.golang import BuildFailed
from tests.toolbox.places import concerns, tools_folder
from tests.toolbox.supply import ToolMissing, alone

PATH: Final = f"{os.environ['PATH']}:/usr/sbin:/sbin"
APT: Final = ("apt-get", "-o", "DPkg::Lock::Timeout=600", "--quiet", "--yes")
RELEASE: Final = Path("/etc/os-release")


class AptFailed(Exception):
    """apt could not do it; the text ends with its own words."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package of Debian. Args: programs: those in it; needed_in: the tests that run them."""

    name: str
    programs: tuple[str, ...]
    needed_in: str

    @property
    def folder(self) -> Path:
        """Where it is kept, under a name that changes with the release and the machine."""
        release = dict(
            line.split("=", 1) for line in _read(RELEASE).splitlines() if "=" in line
        ).get("VERSION_CODENAME", "unknown")
        return tools_folder() / f"{self.name}-{release}-{platform.machine()}"

    @property
    def is_here(self) -> bool:
        """Whether there is nothing left to do."""
        return self.folder.exists() or all(map(shutil.which, self.programs))


PACKAGES: Final = (
    Package("prometheus", programs=("prometheus", "promtool"), needed_in="tests/observability"),
)


def unpacked(name: str) -> Path:
    """The path of a program that is there already.

    Raises:
        ToolMissing: It was not fetched yet.
    """
    (package,) = (one for one in PACKAGES if name in one.programs)
    kept = package.folder / "usr" / "bin" / name
    if kept.exists():
        return kept
    on_path = shutil.which(name)
    if on_path is None:
        raise ToolMissing(f"{name} is not fetched yet: run `make tools`, once")
    return Path(on_path)


def fetch_packages(arguments: list[str], root: Path, out: TextIO) -> None:
    """Fetch those that are missing.

    Args:
        arguments: Those of pytest; without a path, all are needed.
        out: Where to tell about it.

    Raises:
        BuildFailed: One could not be had.
    """
    for one in PACKAGES:
        if concerns(arguments, one.needed_in, root) and not one.is_here:
            with alone(tools_folder(), out):
                if not one.is_here:
                    _fetch(one, out)


def apt(*arguments: str, folder: Path | None = None) -> None:
    """Run apt-get, which asks nothing. Args: folder: where it runs.

    Raises:
        AptFailed: With what it said.
    """
    if shutil.which(APT[0], path=PATH) is None:
        raise AptFailed("there is no apt-get")
    done = subprocess.run(
        [*APT, *arguments],
        cwd=folder,
        env={**os.environ, "PATH": PATH, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AptFailed(f"apt-get {arguments[0]} failed: {done.stdout[-2_000:]}")


def _fetch(wanted: Package, out: TextIO) -> None:
    print(f"tools: fetching {wanted.name} from Debian, once", file=out, flush=True)
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=tools_folder()))
    try:
        _download(wanted, unfinished)
        (archive,) = unfinished.glob("*.deb")
        print(f"tools: unpacking {archive.name.replace('%3a', ':')}", file=out, flush=True)
        tree = unfinished / "tree"
        subprocess.run(["dpkg", "--extract", archive, tree], check=True)
        tree.rename(wanted.folder)
    except (AptFailed, subprocess.CalledProcessError) as failure:
        names = " and ".join(wanted.programs)
        raise BuildFailed(
            f"{wanted.name} could not be had from Debian; put {names} on PATH, then repeat\n"
            f"{failure}"
        ) from failure
    finally:
        shutil.rmtree(unfinished)


def _download(wanted: Package, folder: Path) -> None:
    try:
        apt("download", wanted.name, folder=folder)
    except AptFailed:
        # Lists that are missing or older than the archive; only root may renew them.
        if os.geteuid() != 0:
            raise
        apt("update")
        apt("download", wanted.name, folder=folder)


def _read(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""
