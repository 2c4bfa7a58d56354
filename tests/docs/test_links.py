"""No link of the documentation leads nowhere, and no page is left without one."""

from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, anchors, links, pages


def broken(page: Path) -> list[str]:
    """The links of a page whose file or heading does not exist."""
    found = []
    for link in links(page.read_text(encoding="utf-8")):
        name, _, fragment = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        is_there = target.is_file() or (target.is_dir() and not fragment)
        if not is_there or (fragment and fragment not in anchors(target.read_text("utf-8"))):
            found.append(link)
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert [] == broken(page)


def test_a_missing_file_and_a_missing_heading_are_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Here\n[a](gone.md) [b](#here) [c](#gone) [d](page.md#gone) [e](page.md)\n")
    assert ["gone.md", "#gone", "page.md#gone"] == broken(page)


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    to_visit = [ROOT / "README.md"]
    while to_visit:
        page = to_visit.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        for link in links(page.read_text(encoding="utf-8")):
            target = (page.parent / link.partition("#")[0]).resolve()
            to_visit += [target] if target.is_file() else []
    assert set() == set(DOCS.rglob("*.md")) - reached
