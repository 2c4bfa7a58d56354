"""Where tools are kept: in the cache of whoever runs the tests, else in the repository itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


def users_cache() -> Path | None:
    """The cache of this user, if there is one that can be written."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    home = os.environ.get("HOME", "")
    # An XDG path that is not absolute is to be ignored (XDG Base Directory Specification).
    parents = [Path(named)] if named.startswith("/") else []
    parents += [Path(home, ".cache")] if home.startswith("/") else []
    return next((parent for parent in parents if _is_writable(parent)), None)


def tools_folder() -> Path:
    """The folder that keeps built programs from one run to the next."""
    cache = users_cache()
    folder = ROOT / ".tools" if cache is None else cache / "fluxpay" / "tools"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def concerns(arguments: list[str], folder: str, root: Path) -> bool:
    """Tell whether a run with these arguments of pytest runs tests below a folder of the root."""
    named = [argument.partition("::")[0] for argument in arguments]
    paths = [(root / name).resolve() for name in named if name and (root / name).exists()]
    return not paths or any(_overlap(path, root / folder) for path in paths)


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
