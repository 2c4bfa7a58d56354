"""A counter by owner, for more owners than a label may have values.

Each new value of a label is a time series for as long as Prometheus keeps its data. So only so many
owners have a place of their own; whoever comes when all are taken is counted under one name for
them all. An owner that was silent for long gives its place up: who is active now can be told apart,
however many ever were. What is dropped is dropped as a counter is when a process ends: Prometheus
takes the next count for a fresh start.

Must not know who the owners are.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

OTHER: Final = "_other"
"""What all owners without a place are counted under."""


@dataclass(slots=True)
class _Place:
    counted: dict[str, int]
    seen_s: float


class BoundedCounts(Collector):
    """A counter with two labels: an owner, and one of a few results.

    Args:
        name: Without `_total`, which is added where it is shown.
        labels: The names of both labels, the owner's first.
        results: All values that the second label takes.
        owners_max: How many have a place of their own.
        silence_s_max: After this long without a count an owner's place is free.
        monotonic_s: A clock that is never set.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        documentation: str,
        *,
        labels: tuple[str, str],
        results: Sequence[str],
        owners_max: int,
        silence_s_max: float,
        monotonic_s: Callable[[], float] = perf_counter,
    ) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self._results = tuple(results)
        self._owners_max = owners_max
        self._silence_s_max = silence_s_max
        self._monotonic_s = monotonic_s
        self._places: dict[str, _Place] = {}
        self._others = self._empty()
        # Before this nobody can have been silent for long enough.
        self._sweep_at_s = 0.0
        registry.register(self)

    def count(self, owner: str, result: str) -> None:
        """Count one."""
        now_s = self._monotonic_s()
        place = self._places.get(owner) or self._place_for(owner, now_s)
        place.counted[result] += 1
        place.seen_s = now_s

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Hand the counts to a registry."""
        self._sweep(self._monotonic_s())
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for owner, place in (*self._places.items(), (OTHER, self._others)):
            for result, counted in place.counted.items():
                family.add_metric((owner, result), counted)
        yield family

    def _place_for(self, owner: str, now_s: float) -> _Place:
        if len(self._places) >= self._owners_max and now_s >= self._sweep_at_s:
            self._sweep(now_s)
        if len(self._places) >= self._owners_max:
            return self._others
        place = self._places[owner] = self._empty()
        return place

    def _sweep(self, now_s: float) -> None:
        since_s = now_s - self._silence_s_max
        self._places = {
            owner: place for owner, place in self._places.items() if place.seen_s >= since_s
        }
        seen_s = min((place.seen_s for place in self._places.values()), default=now_s)
        self._sweep_at_s = seen_s + self._silence_s_max

    def _empty(self) -> _Place:
        return _Place(dict.fromkeys(self._results, 0), self._monotonic_s())
