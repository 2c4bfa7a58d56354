"""One panel as SVG: lines, stacked areas, a number, bars, a heat map. Pure.

Knows where in its frame each mark belongs. Must not know Prometheus or whole dashboards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final
from xml.sax.saxutils import escape

from tests.observability.figures import ticks, written
from tests.observability.panel_data import Heat, Line, Span
from tests.observability.prometheus import Exemplar

COLOURS: Final = 10
_LEFT: Final = 62
_LEGEND_ROW: Final = 17
_LETTER: Final = 7.0
_SHADES: Final = 6


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a panel's marks go, in pixels of the whole picture."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.y + self.height


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that was done to the system meanwhile, to be seen behind the lines."""

    what: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Look:
    """How a panel wants to be shown. Args: steps: value and colour, rising."""

    unit: str
    steps: tuple[tuple[float, str], ...]
    is_stacked: bool
    most: float | None

    @staticmethod
    def of(panel: dict[str, Any]) -> Look:
        """Read it from Grafana's JSON."""
        defaults = panel["fieldConfig"]["defaults"]
        steps = defaults.get("thresholds", {}).get("steps", ())
        custom = defaults.get("custom", {})
        return Look(
            unit=defaults["unit"],
            steps=tuple(
                (-inf if one["value"] is None else one["value"], one["color"]) for one in steps
            ),
            is_stacked=custom.get("stacking", {}).get("mode") == "normal",
            most=defaults.get("max"),
        )

    def colour(self, value: float) -> str:
        """What a value is coloured by."""
        return next((name for start, name in reversed(self.steps) if value >= start), "blue")


def text(x: float, y: float, words: str, kind: str = "", *, end: bool = False) -> str:
    """Words, from a point on or up to it."""
    classes = " ".join(one for one in (kind, "end" if end else "") if one)
    style = f' class="{classes}"' if classes else ""
    return f'<text{style} x="{x:.0f}" y="{y:.0f}">{escape(words)}</text>'


def rect(kind: str, frame: Frame, *, radius: int = 2) -> str:
    """A box."""
    return (
        f'<rect class="{kind}" x="{frame.x:.1f}" y="{frame.y:.1f}" width="{frame.width:.1f}" '
        f'height="{frame.height:.1f}" rx="{radius}"/>'
    )


def number(frame: Frame, look: Look, found: Sequence[Line]) -> list[str]:
    """The newest value, large."""
    if not found:
        return [text(frame.x, frame.y + 42, "no data", "soft")]
    value = found[0].last
    return [text(frame.x, frame.y + 42, written(value, look.unit), f"number {look.colour(value)}")]


def bars(frame: Frame, look: Look, found: Sequence[Line]) -> list[str]:
    """The newest values beside their names."""
    room = max(1, int(frame.height // 22))
    shown = found[:room]
    if not shown:
        return [text(frame.x, frame.y + 20, "nothing at this moment", "soft")]
    label = min(frame.width * 0.5, max(len(one.name) for one in shown) * _LETTER + 10)
    track = frame.width - label - 78
    most = max(*(one.last for one in shown), 1e-9)
    marks = []
    for place, one in enumerate(shown):
        y = frame.y + place * 22
        length = max(1.0, track * max(0.0, one.last) / most)
        colour = look.colour(one.last) if look.steps else "c0"
        marks += [
            text(frame.x, y + 14, _fitting(one.name, label - 6), "small"),
            rect("track", Frame(frame.x + label, y + 3, track, 14)),
            rect(f"f-{colour}", Frame(frame.x + label, y + 3, length, 14)),
            text(frame.right, y + 14, written(one.last, look.unit), "small", end=True),
        ]
    return marks


def curves(
    frame: Frame,
    look: Look,
    found: Sequence[Line],
    span: Span,
    dots: Sequence[Exemplar] = (),
    meanwhile: Sequence[Happening] = (),
) -> list[str]:
    """Values over time, with a legend below."""
    if not found:
        return [text(frame.x, frame.y + 20, "no data", "soft")]
    # The largest first, since a legend may have no room for all.
    found = sorted(found, key=lambda one: -max(value for _, value in one.points))
    legend, plot = _legend(frame, [one.name for one in found])
    shown = _stacked(found) if look.is_stacked else [(one, None) for one in found]
    values = [value for one, _ in shown for _, value in one.points]
    limits = [start for start, _ in look.steps[1:]] if look.steps else []
    highest = max(values, default=1.0)
    near = [one for one in limits if one <= highest * 4]
    least = min(0.0, *values) if values else 0.0
    scale = ticks(least, look.most or max([highest, *near]) or 1.0, unit=look.unit)
    axes = _Axes(plot, span, scale[0], scale[-1])
    marks = [*axes.happenings(meanwhile), *axes.grid(scale, look.unit), *legend]
    for place, (one, floor) in enumerate(shown):
        marks += axes.curve(one, floor, place % COLOURS)
    for limit, colour in look.steps[1:]:
        if scale[0] <= limit <= scale[-1]:
            y = axes.y(limit)
            marks.append(
                f'<path class="limit s-{colour}" d="M{plot.x:.0f} {y:.0f}H{plot.right:.0f}"/>'
            )
    marks += [axes.dot(one) for one in dots if one.value <= scale[-1]]
    return marks


def heat_map(
    frame: Frame, look: Look, found: Heat, span: Span, dots: Sequence[Exemplar] = ()
) -> list[str]:
    """How many in each bucket, darker for more; the dots are traces."""
    used = [
        place
        for place in range(len(found.bounds))
        if any(column[place] > 0 for column in found.columns.values())
    ]
    if not used:
        return [text(frame.x, frame.y + 20, "no data", "soft")]
    first, last = used[0], used[-1]
    rows = last - first + 1
    plot = Frame(frame.x + _LEFT, frame.y + 6, frame.width - _LEFT - 4, frame.height - 26)
    high = plot.height / rows
    wide = plot.width / max(1, len(found.columns)) + 0.4
    most = max(value for column in found.columns.values() for value in column)
    axes = _Axes(plot, span, 0, 1)
    marks = [*axes.times()]
    for at_s, column in found.columns.items():
        for place in range(first, last + 1):
            if column[place] > 0:
                shade = min(_SHADES, 1 + int(_SHADES * (column[place] / most) ** 0.5))
                y = plot.bottom - (place - first + 1) * high
                marks.append(
                    f'<rect class="h{shade}" x="{axes.x(at_s) - wide:.1f}" y="{y:.1f}" '
                    f'width="{wide:.1f}" height="{high - 1:.1f}"/>'
                )
    for place in range(first, last + 1):
        bound = found.bounds[place]
        told = "more" if bound == inf else written(bound, look.unit)
        y = plot.bottom - (place - first + 0.5) * high + 4
        marks.append(text(plot.x - 6, y, told, "tick", end=True))
    for one in dots:
        row = next((place for place, bound in enumerate(found.bounds) if one.value <= bound), last)
        if first <= row <= last and span.start_s <= one.at_s <= span.end_s:
            y = plot.bottom - (row - first + 0.5) * high
            marks.append(_diamond(axes.x(one.at_s), y))
    return marks


@dataclass(frozen=True, slots=True)
class _Axes:
    plot: Frame
    span: Span
    least: float
    most: float

    def x(self, at_s: float) -> float:
        return self.plot.x + self.plot.width * (at_s - self.span.start_s) / self.span.length_s

    def y(self, value: float) -> float:
        part = (value - self.least) / (self.most - self.least)
        return self.plot.bottom - self.plot.height * part

    def grid(self, scale: Sequence[float], unit: str) -> list[str]:
        marks = []
        for value in scale:
            y = self.y(value)
            marks += [
                f'<path class="grid" d="M{self.plot.x:.0f} {y:.0f}H{self.plot.right:.0f}"/>',
                text(self.plot.x - 6, y + 4, written(value, unit), "tick", end=True),
            ]
        return [*marks, *self.times()]

    def times(self) -> list[str]:
        # On whole minutes, or on tens of seconds of a shorter stretch.
        step = 60 if self.span.length_s > 120 else 10
        marks = []
        for after in range(0, int(self.span.length_s) + 1, step):
            x = self.x(self.span.start_s + after)
            told = f"{after // 60}:{after % 60:02d}"
            marks.append(
                f'<text class="tick mid" x="{x:.0f}" y="{self.plot.bottom + 14:.0f}">{told}</text>'
            )
        return marks

    def happenings(self, meanwhile: Sequence[Happening]) -> list[str]:
        return [
            f'<rect class="band" x="{self.x(one.start_s):.1f}" y="{self.plot.y:.0f}" '
            f'width="{max(1.0, self.x(one.end_s) - self.x(one.start_s)):.1f}" '
            f'height="{self.plot.height:.0f}"><title>{escape(one.what)}</title></rect>'
            for one in meanwhile
        ]

    def curve(self, line: Line, floor: Line | None, colour: int) -> list[str]:
        # A gap of more than two steps is a gap.
        step = self.span.length_s / 50
        pieces: list[list[tuple[float, float]]] = []
        for at_s, value in line.points:
            if not pieces or at_s - pieces[-1][-1][0] > step:
                pieces.append([])
            pieces[-1].append((at_s, value))
        marks = []
        for piece in pieces:
            path = "L".join(f"{self.x(at_s):.1f} {self.y(value):.1f}" for at_s, value in piece)
            path = path if len(piece) > 1 else f"{path}h1.5"
            if floor is not None:
                below = dict(floor.points)
                back = "L".join(
                    f"{self.x(at_s):.1f} {self.y(below.get(at_s, 0.0)):.1f}"
                    for at_s, _ in reversed(piece)
                )
                marks.append(f'<path class="area f-c{colour}" d="M{path}L{back}Z"/>')
            marks.append(f'<path class="curve s-c{colour}" d="M{path}"/>')
        return marks

    def dot(self, one: Exemplar) -> str:
        is_in = self.span.start_s <= one.at_s <= self.span.end_s
        return _diamond(self.x(one.at_s), self.y(one.value)) if is_in else ""


def _diamond(x: float, y: float) -> str:
    return f'<path class="dot" d="M{x:.1f} {y - 3.5:.1f}l3.5 3.5l-3.5 3.5l-3.5 -3.5z"/>'


def _stacked(found: Sequence[Line]) -> list[tuple[Line, Line | None]]:
    stacked: list[tuple[Line, Line | None]] = []
    times = sorted({at_s for one in found for at_s, _ in one.points})
    below = Line("", tuple((at_s, 0.0) for at_s in times))
    for one in found:
        own, floor = dict(one.points), dict(below.points)
        above = Line(one.name, tuple((at_s, floor[at_s] + own.get(at_s, 0.0)) for at_s in times))
        stacked.append((above, below))
        below = above
    return stacked


def _legend(frame: Frame, names: Sequence[str]) -> tuple[list[str], Frame]:
    """The names in rows below, at most three of them, and what room is left for the plot."""
    rows: list[list[tuple[int, str, float]]] = [[]]
    x = 0.0
    for place, name in enumerate(names):
        told = _fitting(name or "value", frame.width - 40)
        wide = 18 + len(told) * _LETTER + 12
        if x + wide > frame.width - 10 and rows[-1]:
            if len(rows) == 3:
                break
            rows.append([])
            x = 0.0
        rows[-1].append((place % COLOURS, told, x))
        x += wide
    height = frame.height - len(rows) * _LEGEND_ROW - 24
    plot = Frame(frame.x + _LEFT, frame.y + 6, frame.width - _LEFT - 4, height)
    marks = []
    for row, entries in enumerate(rows):
        y = plot.bottom + 34 + row * _LEGEND_ROW
        for colour, told, offset in entries:
            marks += [
                rect(f"f-c{colour}", Frame(frame.x + offset, y - 8, 12, 4)),
                text(frame.x + offset + 17, y, told, "small"),
            ]
    return marks, plot


def _fitting(words: str, width: float) -> str:
    room = max(3, int(width / _LETTER))
    return words if len(words) <= room else f"{words[: room - 1]}…"
