"""What was reviewed: the render of every case, as text in `golden`.

The defaults are kept in full, without the definition of Tenant, which is a file of its own, as the
dashboards are. Of every other case only those objects are kept that differ: so a diff shows each
change once.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tests.chart import helm
from tests.chart.helm import CASES

FOLDER: Final = Path(__file__).with_name("golden")
_PART: Final = "---\n"
_DASHBOARD: Final = re.compile(r"^(  [\w-]+\.json: \|-)\n(?:    .*\n?)+", re.MULTILINE)


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
    kept = [_DASHBOARD.sub(r"\1\n    (the file)\n", part) for part in parts]
    return "".join(f"{_PART}{part.rstrip()}\n" for part in kept)


def write() -> None:
    """Write the text of every case."""
    for path in FOLDER.glob("*.yaml"):
        path.unlink()
    for case in CASES:
        (FOLDER / f"{case}.yaml").write_text(golden_text(case), "utf-8")
