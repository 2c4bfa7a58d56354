"""What was measured, what it is compared with, and the bars that the ratios have to pass.

Pure: values in, values out. Must not know how anything is measured.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

PARTS: Final = ("server", "postgres", "redis", "load")


@dataclass(frozen=True, slots=True)
class Seen:
    """One variant, measured once, or the median of its rounds.

    Args:
        rate: payments (or reads, or requests) a second.
        cpu_us: CPU microseconds for each of them, by `PARTS`.
        batch: how many payments a commit took, on average.
        rss_mb: memory of the largest server process, afterwards.
    """

    rate: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    cpu_us: Mapping[str, float] = field(default_factory=dict)
    batch: float | None = None
    rss_mb: float | None = None

    @property
    def own_cpu_us(self) -> float:
        """CPU without that of the load generator."""
        return sum(used for part, used in self.cpu_us.items() if part != "load")

    @property
    def alone_ms(self) -> float:
        """Mean milliseconds of one request, where one was made after the other."""
        return 1000 / self.rate


@dataclass(frozen=True, slots=True)
class Soak:
    """Memory of the server at capacity, over a long time."""

    minutes: float
    first_minute_mb: float
    end_mb: float

    @property
    def growth_percent(self) -> float:
        """How much it grew after the first minute."""
        return 100 * (self.end_mb / self.first_minute_mb - 1)


Medians = Mapping[str, Seen]


@dataclass(frozen=True, slots=True)
class Bar:
    """A ratio, and what it has to be.

    Args:
        needs: the variants without which it cannot be told.
        is_most: the bar is the most it may be, and not the least.
    """

    title: str
    needs: tuple[str, ...]
    value: Callable[[Medians], float]
    bar: float
    is_most: bool = False
    unit: str = ""

    def is_met(self, value: float) -> bool:
        """Tell whether this value passes."""
        return value <= self.bar if self.is_most else value >= self.bar


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bar and the value that was reached; None if it was not measured."""

    title: str
    value: float | None
    bar: float
    is_most: bool
    unit: str
    is_met: bool | None


def quotient(one: str, other: str) -> Callable[[Medians], float]:
    """How many times as fast the one is as the other."""
    return lambda seen: seen[one].rate / seen[other].rate


def _tail(seen: Medians) -> float:
    paced = seen["paced"]
    assert paced.p99_ms is not None
    assert paced.p50_ms is not None
    return paced.p99_ms / paced.p50_ms


def _idle(seen: Medians) -> float:
    least_ms = seen["bare, 1 client"].alone_ms + seen["empty handler"].alone_ms
    return seen["idle"].alone_ms / least_ms


def _against(title: str, one: str, other: str, bar: float) -> Bar:
    return Bar(title, (one, other), quotient(one, other), bar)


BARS: Final = (
    _against("one process ÷ bare SQL", "create", "bare", 1.0),
    _against("two processes ÷ bare SQL", "two", "bare", 1.25),
    _against("÷ batching and coalescing off", "create", "unbatched", 3.0),
    Bar(
        "CPU per payment, load aside",
        ("create",),
        lambda s: s["create"].own_cpu_us,
        300,
        True,
        " µs",
    ),
    Bar(
        "CPU per payment ÷ batching off",
        ("create", "unbatched"),
        lambda s: s["create"].own_cpu_us / s["unbatched"].own_cpu_us,
        0.35,
        is_most=True,
    ),
    _against("1 % of traces ÷ none", "create", "untraced", 0.9),
    _against("all traces ÷ none", "traced", "untraced", 0.7),
    _against("collector gone ÷ create", "deaf", "create", 0.95),
    _against("one hot tenant ÷ 100 tenants", "hot", "create", 0.9),
    _against("preloaded ÷ empty", "preloaded", "create", 0.9),
    _against("replay ÷ create", "replay", "create", 2.0),
    _against("GET one payment ÷ create", "read", "create", 1.5),
    Bar("p99 ÷ p50 at 50 % of capacity", ("paced",), _tail, 4.0, is_most=True),
    Bar(
        "one request, idle ÷ (pgbench + aiohttp)",
        ("idle", "bare, 1 client", "empty handler"),
        _idle,
        2.0,
        is_most=True,
    ),
)
SOAK_MINUTES: Final = 10.0
SOAK_MB_MAX: Final = 150.0
SOAK_GROWTH_MAX: Final = 5.0


def median(rounds: Sequence[Seen]) -> Seen:
    """The median of each number by itself."""
    parts = rounds[0].cpu_us
    return Seen(
        rate=statistics.median(one.rate for one in rounds),
        p50_ms=_median([one.p50_ms for one in rounds]),
        p99_ms=_median([one.p99_ms for one in rounds]),
        cpu_us={part: statistics.median(one.cpu_us[part] for one in rounds) for part in parts},
        batch=_median([one.batch for one in rounds]),
        rss_mb=_median([one.rss_mb for one in rounds]),
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def verdicts(seen: Medians, soak: Soak | None) -> list[Verdict]:
    """Every bar with the value that was reached."""
    found = []
    for bar in BARS:
        value = bar.value(seen) if all(one in seen for one in bar.needs) else None
        met = None if value is None else bar.is_met(value)
        found.append(Verdict(bar.title, value, bar.bar, bar.is_most, bar.unit, met))
    # A shorter one is told, and proves nothing.
    whole = soak if soak is not None and soak.minutes >= SOAK_MINUTES else None
    size = None if whole is None else whole.end_mb
    growth = None if whole is None else whole.growth_percent
    for title, reached, most, unit in (
        ("memory after 10 minutes at capacity", size, SOAK_MB_MAX, " MB"),
        ("its growth after the first minute", growth, SOAK_GROWTH_MAX, " %"),
    ):
        met = None if reached is None else reached <= most
        found.append(Verdict(title, reached, most, is_most=True, unit=unit, is_met=met))
    return found
