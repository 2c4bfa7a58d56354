"""The performance page tells every variant and every option of the bench, and shows its picture."""

import re
from xml.etree import ElementTree as ET

from tests.bench.run import NAMES, options
from tests.docs.pages import DOCS, read, table

PAGE = read("docs/explanation/performance.md")


def names(rows: list[list[str]]) -> list[str]:
    """What stands in the first column, without its marks."""
    return [row[0].strip("`") for row in rows]


def test_every_variant_is_told_in_its_order() -> None:
    assert list(NAMES) == names(table(PAGE, "What is running"))


def test_every_option_is_told_with_its_default() -> None:
    understood = {
        action.option_strings[0]: str(action.default)
        for action in options()._actions
        if isinstance(action.default, int | float)
    }
    told = {row[0].strip("`"): row[1] for row in table(PAGE, "Measure it")}
    assert ["--only", "--rounds", "--seconds", "--preload", "--soak", "--against"] == list(told)
    assert understood == {name: told[name] for name in understood}


def test_the_picture_is_there_and_can_be_drawn() -> None:
    (name,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", PAGE)
    picture = (DOCS / "explanation" / name).read_text(encoding="utf-8")
    assert "{http://www.w3.org/2000/svg}svg" == ET.fromstring(picture).tag  # noqa: S314 - our own
