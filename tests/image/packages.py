"""Debian's packages that the tests of the image stand on, installed by root where they are missing.

Knows: apt, and that a package starts its daemon unless a policy forbids it.
Must not know: what the programs are used for.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.image.telling import Tell
from tests.toolbox.debian import PATH, AptFailed, apt

PROGRAMS: Final = {
    "docker.io": "dockerd",
    "docker-compose": "docker-compose",
    "mmdebstrap": "mmdebstrap",
    # The signatures of the newest release.
    "debian-archive-keyring": "",
}
POLICY: Final = Path("/usr/sbin/policy-rc.d")


class NotInstalled(Exception):
    """A program is missing and cannot be installed; the text says what to do."""


def program(name: str) -> str:
    """Give the path of an installed program.

    Raises: NotInstalled.
    """
    found = shutil.which(name, path=PATH)
    if found is None:
        raise NotInstalled(f"{name} is missing; install it, or start a container engine")
    return found


def install(tell: Tell) -> None:
    """Install what is missing.

    Raises: NotInstalled without root, without apt, or with what apt said.
    """
    programs = [name for name in PROGRAMS.values() if name]
    missing = [name for name in programs if shutil.which(name, path=PATH) is None]
    is_root = os.geteuid() == 0
    if is_root and not missing:
        return
    if not is_root or shutil.which("apt-get") is None:
        raise NotInstalled(
            "tests/image needs a container engine: start Docker (with Compose), or run as root on "
            "Debian, where one is installed and started for the tests"
        )
    tell(f"installing {', '.join(PROGRAMS)} with apt; this takes a minute")
    try:
        with _nothing_started():
            apt("update")
            apt("install", "--no-install-recommends", *PROGRAMS, *_needed_by_the_kernel())
    except AptFailed as failure:
        raise NotInstalled(str(failure)) from failure


def _needed_by_the_kernel() -> list[str]:
    """Where AppArmor is on, the engine wants its parser to confine containers with."""
    switch = Path("/sys/module/apparmor/parameters/enabled")
    return ["apparmor"] if switch.exists() and switch.read_text().startswith("Y") else []


@contextmanager
def _nothing_started() -> Iterator[None]:
    """Forbid packages to start their daemons meanwhile, unless the machine has a rule already."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()
