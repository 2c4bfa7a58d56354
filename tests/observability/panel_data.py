"""What one panel shows, asked of a Prometheus that has seen it.

Knows the queries of a panel and how Grafana names what they give. Must not know how it is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import inf, isnan
from typing import Any, Final

from tests.observability.prometheus import Exemplar, Prometheus, Series
from tests.observability.promql import selectors
from tests.observability.questions import filled

POINTS: Final = 120
COLUMNS: Final = 60
# Examples in each column of a picture.
EXAMPLES: Final = 2
_IN_LEGEND: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, in Unix seconds."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """How long it is."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Line:
    """A named series."""

    name: str
    points: tuple[tuple[float, float], ...]

    @property
    def last(self) -> float:
        """The newest value."""
        return self.points[-1][1]


@dataclass(frozen=True, slots=True)
class Heat:
    """How many were observed in each bucket over time. Args: bounds: upper ends, rising."""

    bounds: tuple[float, ...]
    columns: Mapping[float, tuple[float, ...]]


def lines(panel: Mapping[str, Any], prometheus: Prometheus, span: Span, every_s: int) -> list[Line]:
    """The series of a panel over time; for one that shows the newest values, the last of them."""
    is_instant = panel["targets"][0]["instant"]
    found = []
    for target in panel["targets"]:
        start_s = span.end_s if is_instant else span.start_s
        step_s = 1.0 if is_instant else span.length_s / POINTS
        expr = filled(target["expr"], rate_interval_s=every_s)
        for series in prometheus.over(expr, start_s, span.end_s, step_s=step_s):
            points = tuple((at_s, value) for at_s, value in series.points if not isnan(value))
            if points:
                found.append(Line(_name(target["legendFormat"], series), points))
    # The values that matter first: the largest, or the smallest where those are asked for.
    is_rising = "bottomk" in panel["targets"][0]["expr"]
    return sorted(found, key=lambda one: one.last, reverse=not is_rising) if is_instant else found


def heat(panel: Mapping[str, Any], prometheus: Prometheus, span: Span, every_s: int) -> Heat:
    """The buckets of a heat map, each without those below it."""
    (target,) = panel["targets"]
    expr = filled(target["expr"], rate_interval_s=every_s)
    step_s = span.length_s / COLUMNS
    found = {
        _bound(series.labels["le"]): dict(series.points)
        for series in prometheus.over(expr, span.start_s, span.end_s, step_s=step_s)
    }
    bounds = tuple(sorted(found))
    times = sorted({at_s for points in found.values() for at_s in points})
    columns = {}
    for at_s in times:
        totals = [0.0, *(found[bound].get(at_s, 0.0) for bound in bounds)]
        columns[at_s] = tuple(max(0.0, after - before) for before, after in pairwise(totals))
    return Heat(bounds, columns)


def exemplars(panel: Mapping[str, Any], prometheus: Prometheus, span: Span) -> list[Exemplar]:
    """The examples that a panel shows, if it does: of those close together, the slowest."""
    target = panel["targets"][0]
    if not target["exemplar"]:
        return []
    (selected,) = selectors(target["expr"])
    kept = [f'{name}="{value}"' for name, value in selected.matchers.items() if "$" not in value]
    expr = f"{selected.name}{{{','.join(kept)}}}"
    found = prometheus.exemplars(expr, span.start_s, span.end_s)
    by_column: dict[int, list[Exemplar]] = {}
    for one in sorted(found, key=lambda one: -one.value):
        column = by_column.setdefault(int((one.at_s - span.start_s) / span.length_s * COLUMNS), [])
        if len(column) < EXAMPLES:
            column.append(one)
    return [one for column in by_column.values() for one in column]


def _bound(text: str) -> float:
    return inf if text == "+Inf" else float(text)


def _name(legend: str, series: Series) -> str:
    return _IN_LEGEND.sub(lambda found: series.labels.get(found[1], ""), legend)
