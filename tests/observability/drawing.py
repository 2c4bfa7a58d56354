"""A dashboard as a picture: the panels of its file, filled with what a Prometheus has seen.

This is our own drawing and no picture of Grafana. It brings its own ground and two sets of
colours, so that it reads on a light page and on a dark one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

from tests.observability.panel_data import Span, exemplars, heat, lines
from tests.observability.plots import (
    Frame,
    Happening,
    Look,
    bars,
    curves,
    heat_map,
    number,
    rect,
    text,
)
from tests.observability.prometheus import Prometheus

_WIDTH: Final = 1200
_MARGIN: Final = 16
_COLUMN: Final = (_WIDTH - 2 * _MARGIN) / 24
_ROW: Final = 31
_GAP: Final = 8
_TOP: Final = 84
_LIGHT: Final = "#2563eb #d9480f #0d9488 #9333ea #b45309 #db2777 #4d7c0f #0891b2 #64748b #b91c1c"
_DARK: Final = "#6ea0ff #ff9466 #3fcab9 #c084fc #fbbf24 #f472b6 #a3e635 #22d3ee #94a3b8 #f87171"
_FORMS: Final = {"f": "fill", "s": "stroke"}


def _variables(colours: str) -> str:
    return "".join(f"--c{place}:{one};" for place, one in enumerate(colours.split()))


_STYLE: Final = (
    "svg{--page:#f4f4f6;--ground:#fff;--edge:#dcdce2;--ink:#18181b;--soft:#5b5b66;--track:#ececf1;"
    "--green:#15803d;--orange:#b45309;--red:#b91c1c;--blue:#1d4ed8;--band:#f59e0b;--dot:#c026d3;"
    f"--heat:#1d4ed8;{_variables(_LIGHT)}}}"
    "@media (prefers-color-scheme:dark){svg{--page:#0f1115;--ground:#181b21;--edge:#2e323b;"
    "--ink:#f4f4f5;--soft:#a5a9b4;--track:#262a32;--green:#4ade80;--orange:#fbbf24;--red:#f87171;"
    f"--blue:#6ea0ff;--band:#f59e0b;--dot:#f0abfc;--heat:#6ea0ff;{_variables(_DARK)}}}}}"
    "text{font:12px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:var(--ink)}"
    ".head{font-size:20px;font-weight:600}.row{font-size:14px;font-weight:600}"
    ".title{font-size:13px;font-weight:600}.soft,.tick{fill:var(--soft)}"
    ".small,.tick{font-size:11px}.number{font-size:26px;font-weight:600}"
    ".end{text-anchor:end}.mid{text-anchor:middle}"
    ".page{fill:var(--page)}.panel{fill:var(--ground);stroke:var(--edge)}.track{fill:var(--track)}"
    ".grid{stroke:var(--edge);fill:none}.curve{fill:none;stroke-width:1.7;stroke-linejoin:round}"
    ".area{opacity:.35}.limit{stroke-width:1.2;stroke-dasharray:5 4;fill:none}"
    ".band{fill:var(--band);opacity:.13}.dot{fill:var(--dot)}"
    + "".join(f".h{one}{{fill:var(--heat);opacity:{one / 6:.2f}}}" for one in range(1, 7))
    + "".join(
        f".{form}-{name}{{{what}:var(--{name})}}"
        for form, what in _FORMS.items()
        for name in (*(f"c{place}" for place in range(10)), "green", "orange", "red", "blue")
    )
    + "".join(
        f".number.{name}{{fill:var(--{name})}}" for name in ("green", "orange", "red", "blue")
    )
)


def draw(
    document: Mapping[str, Any],
    prometheus: Prometheus,
    span: Span,
    *,
    every_s: int,
    meanwhile: Sequence[Happening],
) -> str:
    """Draw a dashboard as it was over a stretch of time, as SVG.

    Args:
        every_s: The window of rates.
        meanwhile: What was done to the system; shown as bands.
    """
    marks: list[str] = []
    bottom = 0
    for panel in document["panels"]:
        place = panel["gridPos"]
        bottom = max(bottom, place["y"] + place["h"])
        if panel["type"] == "row":
            marks.append(text(_MARGIN, _TOP + place["y"] * _ROW + 21, panel["title"], "row"))
        else:
            marks += _panel(panel, prometheus, span, every_s, meanwhile)
    height = _TOP + bottom * _ROW + _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" role="img" aria-labelledby="title">\n'
        f'<title id="title">{escape(document["title"])}</title>\n<style>{_STYLE}</style>\n'
        f'<rect class="page" width="{_WIDTH}" height="{height}" rx="10"/>\n'
        + "\n".join([*_head(document, span, meanwhile), *marks])
        + "\n</svg>\n"
    )


def _head(document: Mapping[str, Any], span: Span, meanwhile: Sequence[Happening]) -> list[str]:
    told = [
        f"{_clock(one.start_s - span.start_s)} to {_clock(one.end_s - span.start_s)} {one.what}"
        for one in meanwhile
    ]
    return [
        text(_MARGIN, 34, document["title"], "head"),
        text(_MARGIN, 54, document["description"], "soft"),
        f'<rect class="band" x="{_MARGIN}" y="64" width="12" height="12" style="opacity:.45"/>',
        text(_MARGIN + 18, 74, "; ".join(told), "small soft"),
    ]


def _panel(
    panel: dict[str, Any],
    prometheus: Prometheus,
    span: Span,
    every_s: int,
    meanwhile: Sequence[Happening],
) -> list[str]:
    place, look = panel["gridPos"], Look.of(panel)
    x = _MARGIN + place["x"] * _COLUMN + _GAP / 2
    y = _TOP + place["y"] * _ROW
    wide, high = place["w"] * _COLUMN - _GAP, place["h"] * _ROW - _GAP
    inner = Frame(x + 12, y + 32, wide - 24, high - 44)
    marks = [
        f"<g><title>{escape(panel['description'])}</title>",
        rect("panel", Frame(x, y, wide, high), radius=6),
        text(x + 12, y + 21, panel["title"], "title"),
    ]
    dots = exemplars(panel, prometheus, span)
    match panel["type"]:
        case "heatmap":
            found = heat(panel, prometheus, span, every_s)
            marks += heat_map(inner, look, found, span, dots)
        case "stat":
            marks += number(inner, look, lines(panel, prometheus, span, every_s))
        case "bargauge":
            marks += bars(inner, look, lines(panel, prometheus, span, every_s))
        case _:
            shown = lines(panel, prometheus, span, every_s)
            marks += curves(inner, look, shown, span, dots, meanwhile)
    return [*marks, "</g>"]


def _clock(after_s: float) -> str:
    return f"{int(after_s) // 60}:{int(after_s) % 60:02d}"
