"""Supplying a tool: from the cache, or built into it once, under a lock, with visible progress.

A test asks `program` for a path and builds nothing, since a build takes minutes and a test has
two. `make test` builds beforehand, through `python -m tests.toolbox`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from tests.toolbox.golang import Go, find_go
from tests.toolbox.places import tools_folder
from tests.toolbox.progress import Progress
from tests.toolbox.tools import Tool, tool


class ToolMissing(Exception):
    """A program was not built yet."""


def program(name: str) -> Path:
    """The path of a tool that is there already.

    Raises:
        ToolMissing: It was not built yet.
    """
    wanted = tool(name)
    path = _asset(wanted) or tools_folder() / wanted.file_name
    if not path.exists():
        raise ToolMissing(f"{name} {wanted.version} is not built yet: run `make tools`, once")
    return path


def supply(wanted: Iterable[Tool], out: TextIO) -> None:
    """Build those that are missing; what is there costs nothing.

    Args:
        wanted: In the order in which to build.
        out: Where to tell how far it is.
    """
    missing = [one for one in wanted if not _is_here(one)]
    if not missing:
        return
    folder = tools_folder()
    with alone(folder, out):
        # Whoever held the lock may have built them.
        missing = [one for one in missing if not _is_here(one)]
        go = find_go(folder, out) if missing else None
        for position, one in enumerate(missing, start=1):
            print(
                f"tools: building {one.name} {one.version} ({position} of {len(missing)}), once; "
                "a large one takes some minutes",
                file=out,
                flush=True,
            )
            assert go is not None
            _build(one, go, folder, out)


def _is_here(wanted: Tool) -> bool:
    return _asset(wanted) is not None or (tools_folder() / wanted.file_name).exists()


def _asset(wanted: Tool) -> Path | None:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if not (assets and wanted.is_asset):
        return None
    path = Path(assets) / wanted.name
    return path if os.access(path, os.X_OK) else None


def _build(wanted: Tool, go: Go, folder: Path, out: TextIO) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=folder))
    try:
        program_path = unfinished / wanted.name
        go.build(wanted, program_path, Progress(wanted.name, out))
        # Whole or not at all: a reader needs no lock.
        program_path.replace(folder / wanted.file_name)
    finally:
        shutil.rmtree(unfinished)


@contextmanager
def alone(folder: Path, out: TextIO) -> Iterator[None]:
    """Hold the lock of the folder; it falls with the process."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("tools: waiting for another run that is building them", file=out, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
