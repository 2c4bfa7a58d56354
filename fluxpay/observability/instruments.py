"""Counters, histograms and gauges for one thread, without the locks of the client library.

All requests run on one loop, and so does the page that shows the numbers. The instruments of the
client library take locks and look up children, 2 µs each time, a dozen times a payment; plain
integers in a dictionary do the same for a tenth. What somebody keeps anyway, such as the length of
a queue, is not counted here at all: it is read when the page is asked for.

Must not know what is measured. Source: the data model of OpenMetrics 1.0.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.samples import Exemplar

Labels = tuple[str, ...]


class Counts(Collector):
    """A counter.

    Args:
        name: Without `_total`, which is added where it is shown.
        labels: The names of the labels; values come with each count, in this order.
        known: Label values that are shown as 0 before the first count: a rate over what appears
            as 1 misses that first one.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        known: Iterable[Labels] = (),
    ) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self._counted: dict[Labels, int] = dict.fromkeys(known if labels else ((),), 0)
        registry.register(self)

    def expect(self, *values: str) -> None:
        """Show 0 for these label values from now on, unless they were counted."""
        self._counted.setdefault(values, 0)

    def count(self, *values: str) -> None:
        """Count one."""
        self._counted[values] = self._counted.get(values, 0) + 1

    def add(self, values: Labels, number: int) -> None:
        """Count several."""
        self._counted[values] = self._counted.get(values, 0) + number

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Hand the counts to a registry."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, counted in self._counted.items():
            family.add_metric(values, counted)
        yield family


class Distribution(Collector):
    """A histogram. Of each bucket the last exemplar is kept, which OpenMetrics alone can show.

    Args:
        labels: The names of the labels; values come with each observation, in this order.
        known: Label values that are shown as empty before the first observation.
        bounds: The upper bounds of the buckets, ascending, without the infinite one.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        documentation: str,
        *,
        labels: Sequence[str] = (),
        known: Iterable[Labels] = (),
        bounds: Sequence[float],
    ) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self._bounds = tuple(float(bound) for bound in bounds)
        self._shown_bounds: Final = (*(repr(bound) for bound in self._bounds), "+Inf")
        # Of each series how many fell into each bucket, and behind them the sum.
        self._series: dict[Labels, list[float]] = {}
        self._exemplars: dict[Labels, dict[int, Exemplar]] = {}
        for values in known if labels else ((),):
            self._begin(values)
        registry.register(self)

    def expect(self, *values: str) -> None:
        """Show these label values as empty from now on, unless they were observed."""
        if values not in self._series:
            self._begin(values)

    def observe(self, values: Labels, observed: float, exemplar: str | None = None) -> None:
        """Count one observation.

        Args:
            exemplar: The id of the trace that tells more of it, where one is recorded.
        """
        series = self._series.get(values)
        if series is None:
            series = self._begin(values)
        at = bisect_left(self._bounds, observed)
        series[at] += 1
        series[-1] += observed
        if exemplar is not None:
            shown = Exemplar({"trace_id": exemplar}, observed, time.time())
            self._exemplars.setdefault(values, {})[at] = shown

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Hand the buckets to a registry."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, (*counts, sum_value) in self._series.items():
            exemplars = self._exemplars.get(values, {})
            buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
            total: float = 0
            for at, (bound, count) in enumerate(zip(self._shown_bounds, counts, strict=True)):
                total += count
                shown = exemplars.get(at)
                buckets.append((bound, total) if shown is None else (bound, total, shown))
            family.add_metric(values, buckets=buckets, sum_value=sum_value)
        yield family

    def _begin(self, values: Labels) -> list[float]:
        series = self._series[values] = [0] * len(self._shown_bounds) + [0.0]
        return series


class Readings(Collector):
    """A gauge, or a counter that somebody else keeps: read when it is shown, and only then.

    Args:
        name: Of a counter without `_total`.
        read: Gives the value for each set of label values there is.
        is_counter: Whether what is read only grows.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        read: Callable[[], Mapping[Labels, float]],
        is_counter: bool = False,
    ) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self._read = read
        self._family = CounterMetricFamily if is_counter else GaugeMetricFamily
        registry.register(self)

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Hand what is read to a registry."""
        family = self._family(self._name, self._documentation, labels=self._labels)
        for values, value in self._read().items():
            family.add_metric(values, value)
        yield family
