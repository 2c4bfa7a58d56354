"""The result as a picture: rates, where the CPU time goes, and each ratio beside its bar. Pure.

The picture brings its own ground and its own two sets of colours, so that it reads on a light page
and on a dark one. Nothing in it is told by colour alone.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final
from xml.sax.saxutils import escape

from tests.bench.measures import PARTS, Seen, Verdict
from tests.bench.table import bar, reached

_WIDTH: Final = 960
_MARGIN: Final = 32
_LABEL: Final = 268
_ROW: Final = 26
_TRACK: Final = _WIDTH - 2 * _MARGIN - _LABEL - 110
_LEFT: Final = _MARGIN + _LABEL
_FIRST: Final = 92
_RATES: Final = ("bare", "create", "two", "unbatched", "hot", "preloaded", "replay", "read")
_USERS: Final = ("bare", "create", "two", "unbatched")
_PART_NAMES: Final = {
    "server": "server",
    "postgres": "Postgres",
    "redis": "Valkey",
    "load": "load generator",
}
_DOUBLINGS_SHOWN: Final = 2.0
_STYLE: Final = """
    svg { --ground: #ffffff; --edge: #d4d4d8; --ink: #18181b; --soft: #52525b; --track: #f1f1f4;
          --server: #2563eb; --postgres: #0f9f8f; --redis: #d9480f; --load: #a1a1aa;
          --met: #15803d; --missed: #b91c1c; }
    @media (prefers-color-scheme: dark) {
        svg { --ground: #16181d; --edge: #3f434c; --ink: #f4f4f5; --soft: #a9adb8;
              --track: #24272e; --server: #6ea0ff; --postgres: #3fcab9; --redis: #ff9466;
              --load: #7c818d; --met: #4ade80; --missed: #f87171; }
    }
    text { font: 14px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif;
           fill: var(--ink); }
    .title { font-size: 20px; font-weight: 600; } .section { font-weight: 600; }
    .soft { fill: var(--soft); font-size: 13px; } .number { font-variant-numeric: tabular-nums; }
    .end { text-anchor: end; }
    .ground { fill: var(--ground); stroke: var(--edge); } .track { fill: var(--track); }
    .server { fill: var(--server); } .postgres { fill: var(--postgres); }
    .redis { fill: var(--redis); } .load { fill: var(--load); }
    .line { stroke: var(--soft); stroke-width: 1.5; }
    .met { fill: var(--met); } .missed { fill: var(--missed); }
"""


def draw(
    titles: Mapping[str, str], seen: Mapping[str, Seen], verdicts: Sequence[Verdict], *, note: str
) -> str:
    """Draw what was measured, as SVG.

    Args:
        note: one line that says when and how it was measured.
    """
    marks = [
        _text(_MARGIN, 42, "FluxPay against bare SQL", "title"),
        _text(_MARGIN, 64, note, "soft"),
    ]
    rates, below = _rates(titles, seen, _FIRST)
    users, below = _users(titles, seen, below)
    bars, below = _bars(verdicts, below)
    height = below + 4
    body = "\n".join([*marks, *rates, *users, *bars])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" role="img" aria-labelledby="title">\n'
        f'<title id="title">FluxPay against bare SQL: {escape(_summary(verdicts))}</title>\n'
        f"<style>{_STYLE}</style>\n"
        f'<rect class="ground" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" '
        f'rx="10"/>\n{body}\n</svg>\n'
    )


def _summary(verdicts: Sequence[Verdict]) -> str:
    measured = [one for one in verdicts if one.is_met is not None]
    met = sum(one.is_met is True for one in measured)
    return f"{met} of {len(measured)} bars met"


def _rates(
    titles: Mapping[str, str], seen: Mapping[str, Seen], top: float
) -> tuple[list[str], float]:
    names = [name for name in _RATES if name in seen]
    if not names:
        return [], top
    most = max(seen[name].rate for name in names)
    marks = [_text(_MARGIN, top + 18, "Requests a second", "section")]
    y = top + 32
    for name in names:
        kind = "load" if name == "bare" else "server"
        width = _TRACK * seen[name].rate / most
        marks += [
            _text(_MARGIN, y + 15, titles[name]),
            _rect(_LEFT, y + 2, width, kind),
            _text(_LEFT + width + 8, y + 15, f"{seen[name].rate:,.0f}", "number"),
        ]
        y += _ROW
    return marks, y + 14


def _users(
    titles: Mapping[str, str], seen: Mapping[str, Seen], top: float
) -> tuple[list[str], float]:
    names = [name for name in _USERS if name in seen]
    if not names:
        return [], top
    most = max(sum(seen[name].cpu_us.values()) for name in names)
    marks = [_text(_MARGIN, top + 18, "CPU µs for each payment", "section")]
    x = float(_LEFT)
    for part in PARTS:
        marks += [
            f'<rect class="{part}" x="{x:.1f}" y="{top + 8}" width="11" height="11" rx="2"/>',
            _text(x + 17, top + 18, _PART_NAMES[part], "soft"),
        ]
        x += 36 + 7.2 * len(_PART_NAMES[part])
    y = top + 32
    for name in names:
        marks.append(_text(_MARGIN, y + 15, titles[name]))
        x = _LEFT
        for part in PARTS:
            width = _TRACK * seen[name].cpu_us.get(part, 0.0) / most
            if width:
                # A gap keeps neighbours apart for those who do not see their colours.
                marks.append(_rect(x, y + 2, max(0.5, width - 1.5), part, radius=2))
            x += width
        total = sum(seen[name].cpu_us.values())
        marks.append(_text(x + 8, y + 15, f"{total:,.0f}", "number"))
        y += _ROW
    return marks, y + 14


def _bars(verdicts: Sequence[Verdict], top: float) -> tuple[list[str], float]:
    shown = [one for one in verdicts if one.value is not None]
    if not shown:
        return [], top
    left, right = _LEFT + 40, _LEFT + _TRACK - 120
    middle = (left + right) / 2
    marks = [
        _text(_MARGIN, top + 18, "Ratios and their bars", "section"),
        _text(middle - 10, top + 18, "← misses the bar", "soft end"),
        _text(middle + 10, top + 18, "passes it →", "soft"),
    ]
    y = top + 32
    for one in shown:
        kind = "met" if one.is_met else "missed"
        x = middle + (right - left) / 2 * _lead(one) / _DOUBLINGS_SHOWN
        marks += [
            _text(_MARGIN, y + 15, one.title),
            f'<rect class="track" x="{left}" y="{y + 7}" width="{right - left}" height="6"/>',
            f'<path class="line" d="M{middle} {y + 2}V{y + 18}"/>',
            _dot(x, y + 10, kind),
            _text(right + 64, y + 15, reached(one), "number end"),
            _text(right + 78, y + 15, bar(one), "number soft"),
            _text(_WIDTH - _MARGIN, y + 15, "met" if one.is_met else "not met", f"{kind} end"),
        ]
        y += _ROW
    return marks, y + 14


def _lead(one: Verdict) -> float:
    """By how many doublings it is better than its bar; no more than is shown."""
    assert one.value is not None
    floor = one.bar / 2**_DOUBLINGS_SHOWN
    ahead = math.log2(max(one.value, floor / 2) / one.bar) * (-1 if one.is_most else 1)
    return max(-_DOUBLINGS_SHOWN, min(_DOUBLINGS_SHOWN, ahead))


def _dot(x: float, y: float, kind: str) -> str:
    if kind == "met":
        return f'<circle class="met" cx="{x:.1f}" cy="{y}" r="6"/>'
    return f'<path class="missed" d="M{x:.1f} {y - 7}l7 7l-7 7l-7 -7z"/>'


def _rect(x: float, y: float, width: float, kind: str, *, radius: int = 3) -> str:
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="17" rx="{radius}"/>'
    )


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text{style} x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
