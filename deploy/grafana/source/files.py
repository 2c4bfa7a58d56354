"""Where the dashboards are written: once for Grafana's provisioning, once for the chart.

Knows the two folders. Must not know what stands in the files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from deploy.grafana.source import dependencies, ledger, operators, overview, tenants
from deploy.grafana.source.grafana import document

ROOT: Final = Path(__file__).parents[3]
FOLDERS: Final = (
    ROOT / "deploy" / "grafana" / "dashboards",
    ROOT / "charts" / "fluxpay" / "files" / "dashboards",
)
BOARDS: Final = (
    overview.BOARD,
    ledger.BOARD,
    tenants.BOARD,
    dependencies.BOARD,
    operators.BOARD,
)


def documents() -> dict[str, str]:
    """What is to be written, by the name of the file."""
    return {f"{board.uid}.json": document(board) for board in BOARDS}


def write() -> None:
    """Write all of them into each folder, and leave nothing else there."""
    written = documents()
    for folder in FOLDERS:
        folder.mkdir(exist_ok=True)
        for path in folder.glob("*.json"):
            path.unlink()
        for name, text in written.items():
            (folder / name).write_text(text, "utf-8")
