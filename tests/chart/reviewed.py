"""What was reviewed: the render of every case, as text in `golden`.

The defaults are kept in full, without the definition of Tenant, which is a file of its own. Of
every other case only those objects are kept that differ: so a diff shows each change once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.chart import helm
from tests.chart.helm import CASES

FOLDER: Final = Path(__file__).with_name("golden")
_PART: Final = "---\n"


def golden_text(case: str) -> str:
    """The text to keep of a case."""
    parts = [
        part
        for part in helm.rendered(case).split(_PART)
        if part.strip() and "/templates/crds.yaml" not in part
    ]
    if case != "default":
        known = set(helm.rendered("default").split(_PART))
        parts = [part for part in parts if part not in known]
    return "".join(f"{_PART}{part.rstrip()}\n" for part in parts)


def write() -> None:
    """Write the text of every case."""
    for path in FOLDER.glob("*.yaml"):
        path.unlink()
    for case in CASES:
        (FOLDER / f"{case}.yaml").write_text(golden_text(case), "utf-8")
