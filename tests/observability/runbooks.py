"""The runbooks as they are written: their pages and what stands in fences on them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.docs.pages import Fence, fences
from tests.observability.rules import ROOT

FOLDER: Final = ROOT / "docs/how-to/runbooks"
INDEX: Final = FOLDER / "README.md"
PAGES: Final = tuple(sorted(path for path in FOLDER.glob("*.md") if path != INDEX))


def told(page: Path) -> list[Fence]:
    """The fenced blocks of a page; those in a list are indented."""
    lines = page.read_text("utf-8").splitlines()
    return fences("\n".join(line.strip() for line in lines) + "\n")
