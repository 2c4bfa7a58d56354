"""Programs in Python whose dependencies contradict ours: each in an environment of its own.

Knows how one is made from its hashed lock, once, in the folder of the tools. Must not know what the
program does. To add one: write `NAME.in`, add a row here, run `make lock`.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from tests.toolbox.golang import BuildFailed
from tests.toolbox.places import concerns, tools_folder
from tests.toolbox.supply import ToolMissing, alone


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment with one program. Args: needed_in: the tests that run it."""

    name: str
    needed_in: str

    @property
    def lock(self) -> Path:
        """What it holds, by versions and hashes."""
        return Path(__file__).with_name(f"{self.name}.lock")

    @property
    def folder(self) -> Path:
        """Where it is kept, under a name that changes with its lock and its Python."""
        recipe = f"{self.lock.read_text('utf-8')}\n{sys.version}\n{platform.machine()}"
        digest = hashlib.sha256(recipe.encode()).hexdigest()[:12]
        return tools_folder() / f"{self.name}-{digest}"


ENVIRONMENTS: Final = (Environment("checkov", needed_in="tests/chart"),)


def python_of(name: str) -> Path:
    """The Python of an environment that is there already.

    Raises:
        ToolMissing: It was not made yet.
    """
    (wanted,) = (one for one in ENVIRONMENTS if one.name == name)
    if not wanted.folder.exists():
        raise ToolMissing(f"{name} is not installed yet: run `make tools`, once")
    return wanted.folder / "bin" / "python"


def make_environments(arguments: list[str], root: Path, out: TextIO) -> None:
    """Make those that are missing.

    Args:
        arguments: Those of pytest; without a path, all are needed.
        out: Where to tell about it.

    Raises:
        BuildFailed: One could not be installed.
    """
    for one in ENVIRONMENTS:
        if concerns(arguments, one.needed_in, root) and not one.folder.exists():
            with alone(tools_folder(), out):
                if not one.folder.exists():
                    _make(one, out)


def _make(wanted: Environment, out: TextIO) -> None:
    count = wanted.lock.read_text("utf-8").count("==")
    print(f"tools: installing {wanted.name} and its {count} packages, once", file=out, flush=True)
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=wanted.folder.parent))
    try:
        python = unfinished / "bin" / "python"
        pip = ["-m", "pip", "--quiet", "--disable-pip-version-check", f"--python={python}"]
        pinned = ["--require-hashes", "--only-binary=:all:", f"--requirement={wanted.lock}"]
        for step in (
            ["-m", "venv", "--without-pip", str(unfinished)],
            [*pip, "install", "--no-compile", *pinned],
        ):
            told = subprocess.run(
                [sys.executable, *step], capture_output=True, text=True, check=False
            )
            if told.returncode != 0:
                raise BuildFailed(f"{wanted.name} could not be installed:\n{told.stderr.strip()}")
        # Nothing that we run from there knows its own place, so it may be moved.
        unfinished.rename(wanted.folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
