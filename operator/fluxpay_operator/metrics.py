"""What the operator counts about itself, for Prometheus to fetch.

Names and labels are those of the interface. Tenants and keys are told by a leader only, so that
two operators do not count them twice. Must not know what is reconciled.
"""

from __future__ import annotations

import platform
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from fluxpay import __version__

if TYPE_CHECKING:
    from fluxpay_operator.status import Status
    from fluxpay_operator.work_queue import Key

RESULTS: Final = (
    "changed",
    "unchanged",
    "retried",
    "stalled",
    "refused",
    "failed",
    "deleted",
    "gone",
)
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """All instruments of one process, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._reconciled = Counter(
            "fluxpay_operator_reconcile",
            "Turns of tenants, by what came of them.",
            ["result"],
            registry=self._registry,
        )
        for result in RESULTS:
            self._reconciled.labels(result)
        self._duration = Histogram(
            "fluxpay_operator_reconcile_duration_seconds",
            "How long a turn took.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._leader = Gauge(
            "fluxpay_operator_leader", "1 while this process acts.", registry=self._registry
        )
        self._depth = Gauge(
            "fluxpay_operator_queue_depth",
            "Tenants that are due or being worked on.",
            registry=self._registry,
        )
        self.tenants = TenantGauges()
        self._registry.register(self.tenants)
        info = Gauge(
            "fluxpay_build_info",
            "1, with what was built.",
            ["version", "python_version"],
            registry=self._registry,
        )
        info.labels(__version__, platform.python_version()).set(1)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure a turn."""
        begun_s = perf_counter()
        try:
            yield
        finally:
            self._duration.observe(perf_counter() - begun_s)

    def reconciled(self, result: str) -> None:
        """Count a turn."""
        self._reconciled.labels(result).inc()

    def leads(self, *, is_leader: bool) -> None:
        """Tell whether this process acts; one that does not knows no tenant."""
        self._leader.set(is_leader)
        if not is_leader:
            self.tenants.clear()

    def measure_queue(self, depth: Callable[[], int]) -> None:
        """Ask this for the depth of the queue, whenever somebody looks."""
        self._depth.set_function(depth)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Write all of it, in the format that the Accept field prefers."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class TenantGauges(Collector):
    """Conditions and ends of keys, as they were last told."""

    def __init__(self) -> None:
        self._statuses: dict[Key, Status] = {}

    def tell(self, key: Key, status: Status) -> None:
        """Remember what was told of a tenant."""
        self._statuses[key] = status

    def forget(self, key: Key) -> None:
        """Count a tenant no longer."""
        self._statuses.pop(key, None)

    def clear(self) -> None:
        """Count none."""
        self._statuses.clear()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Hand the figures to a registry."""
        tenants = GaugeMetricFamily(
            "fluxpay_operator_tenants", "Tenants by condition.", labels=["condition", "status"]
        )
        tally = Tally(
            (one.type, one.status)
            for status in self._statuses.values()
            for one in status.conditions
        )
        for (condition, state), number in tally.items():
            tenants.add_metric([condition, state], number)
        yield tenants
        ends = GaugeMetricFamily(
            "fluxpay_operator_key_expiry_timestamp_seconds",
            "When a key stops working, in Unix time.",
            labels=["namespace", "tenant", "key"],
        )
        for key, status in self._statuses.items():
            for one in status.keys:
                if one.expires_at is not None:
                    at_s = datetime.fromisoformat(one.expires_at).astimezone(UTC).timestamp()
                    ends.add_metric([key.namespace, key.name, one.name], at_s)
        yield ends
