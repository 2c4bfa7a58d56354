"""The pages of the documentation, read as text: their fences, tables, links and headings.

Knows Markdown as far as our own pages use it. Must not know what any page says.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^(?P<marks>#{1,6}) (?P<text>.+)$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\((?P<target>[^)\s]+)\)")
_LEADS_ELSEWHERE = re.compile(r"[a-z]+:")


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced block. Args: info: what stands behind the opening marks, such as `sh`."""

    info: str
    text: str


def pages() -> list[Path]:
    """Every page that a reader of the repository may open."""
    at_root = (ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md"))
    return [*at_root, *sorted(ROOT.glob("charts/*/README.md")), *sorted(DOCS.rglob("*.md"))]


def read(name: str) -> str:
    """Read a page by its path from the root of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def fences(text: str) -> list[Fence]:
    """Give the fenced blocks in their order."""
    return [Fence(found["info"], found["text"]) for found in _FENCE.finditer(text)]


def table(text: str, heading: str) -> list[list[str]]:
    """Give the rows of the first table under a heading, without its head."""
    lines = dropwhile(lambda line: not line.startswith("|"), section(text, heading).splitlines())
    rows = list(takewhile(lambda line: line.startswith("|"), lines))
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in rows[2:]]


def section(text: str, heading: str) -> str:
    """Give what stands between a heading and the next one of its level or above."""
    begun = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert begun is not None, f"no heading {heading!r}"
    level = len(begun[1])
    rest = text[begun.end() :]
    # A comment in a fenced block looks like a heading.
    bare = _FENCE.sub(lambda found: " " * len(found[0]), rest)
    ended = re.search(rf"^#{{1,{level}}} ", bare, re.MULTILINE)
    return rest if ended is None else rest[: ended.start()]


def code(cell: str) -> str:
    """Give what stands between the backticks of a cell."""
    return cell.strip().strip("`")


def links(text: str) -> Iterator[str]:
    """Give the targets of the links that stay in the repository."""
    for found in _LINK.finditer(_FENCE.sub("", text)):
        if _LEADS_ELSEWHERE.match(found["target"]) is None:
            yield found["target"]


def anchors(text: str) -> set[str]:
    """Give the fragments that lead into a page, made as code hosts make them."""
    headings = (found["text"] for found in _HEADING.finditer(_FENCE.sub("", text)))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
