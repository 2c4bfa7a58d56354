"""What a dashboard is made of, in our own words: boards of rows of panels of queries.

Knows how our series are selected and which windows Grafana fills in. Must not know Grafana's JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

OURS: Final = 'namespace=~"$namespace",job=~"$job"'
"""What every series of ours is selected by."""
CREATION: Final = 'http_route="/v1/payments",http_request_method="POST"'
"""The route that both promises are about."""
PROBES: Final = 'http_route!~"/health/.*|/metrics"'
"""What is no customer's request."""
REQUESTS: Final = "http_server_request_duration_seconds"


class Kind(StrEnum):
    """How a panel shows what its queries give."""

    LINES = "lines"
    AREAS = "areas"
    STAT = "stat"
    BARS = "bars"
    HEATMAP = "heatmap"

    @property
    def is_instant(self) -> bool:
        """Whether only the newest values are asked for."""
        return self in {Kind.STAT, Kind.BARS}


class Colour(StrEnum):
    """What a value is coloured by; each reads on a light ground and on a dark one."""

    GOOD = "green"
    WARN = "orange"
    BAD = "red"
    PLAIN = "blue"


@dataclass(frozen=True, slots=True)
class Query:
    """A query in PromQL. Args: legend: Grafana's, such as `{{outcome}}`."""

    expr: str
    legend: str = ""
    has_exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """From this value on a panel has this colour."""

    start: float
    colour: Colour


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture.

    Args:
        title: What is seen.
        description: What it means, and what to do about it.
        unit: Grafana's name of it.
        width: Of 24 columns.
        steps: Colours by value, rising; lines of them are drawn where there is an axis.
        most: The end of the axis, where it has one.
        traces: A search in TraceQL that finds what the panel tells of.
    """

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = Kind.LINES
    width: int = 12
    height: int = 8
    steps: tuple[Step, ...] = ()
    most: float | None = None
    decimals: int | None = None
    traces: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One dashboard. Args: uid: its address in Grafana, and the name of its file."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]


def of(name: str, *matchers: str) -> str:
    """Select a series."""
    return f"{name}{{{','.join((OURS, *matchers))}}}"


def recorded(name: str) -> str:
    """Select a series that a rule has recorded, which knows the namespace alone."""
    return f'namespace:{name}{{namespace=~"$namespace"}}'


def rate(name: str, *matchers: str) -> str:
    """How fast a counter rises, a second."""
    return f"rate({of(name, *matchers)}[$__rate_interval])"


def by(labels: str, inner: str, *, how: str = "sum") -> str:
    """Add up by labels, parted by commas; by none, all."""
    return f"{how} by ({labels}) ({inner})" if labels else f"{how}({inner})"


def share(name: str, *matchers: str) -> str:
    """The part of a counter's rise that these matchers select."""
    return f"{by('', rate(name, *matchers))} / ({by('', rate(name))} > 0)"


def only(inner: str) -> str:
    """What happens at all, so that a legend names nothing that does not."""
    return f"{inner} > 0"


def top(count: int, inner: str) -> str:
    """The largest, without those that are nothing."""
    return f"topk({count}, {inner} > 0)"


def quantile(part: float, histogram: str, *matchers: str, labels: str = "") -> str:
    """The value that this part of what was observed stays below."""
    kept = f"le, {labels}" if labels else "le"
    return f"histogram_quantile({part}, {by(kept, rate(f'{histogram}_bucket', *matchers))})"


def quantiles(histogram: str, *matchers: str, has_exemplars: bool = False) -> tuple[Query, ...]:
    """Half, most and nearly all."""
    return tuple(
        Query(quantile(part, histogram, *matchers), legend, has_exemplars)
        for part, legend in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    )


def heat(histogram: str, *matchers: str) -> tuple[Query, ...]:
    """How many were observed in each bucket."""
    return (
        Query(
            by("le", rate(f"{histogram}_bucket", *matchers)),
            "{{le}}",
            has_exemplars=histogram == REQUESTS,
        ),
    )
