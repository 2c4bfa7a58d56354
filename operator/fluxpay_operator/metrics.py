"""What the operator counts about itself, for Prometheus to fetch.

Names and labels are those of the interface. Tenants and keys are told by a leader only, so that
two operators do not count them twice. Must not know what is reconciled.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from fluxpay.observability.exposition import LoopLag, exposition, new_registry
from fluxpay.observability.instruments import Counts, Distribution, Readings
from fluxpay_operator.admin_client import CALLED

if TYPE_CHECKING:
    from fluxpay_operator.status import KeyStatus, Status
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
# A turn that needs a person came to its end as much as one that needs nobody.
_COMPLETE: Final = frozenset({"changed", "unchanged", "stalled", "deleted", "gone"})
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """All instruments of one process, in a registry of their own."""

    def __init__(self) -> None:
        registry = self._registry = new_registry()
        self.loop_lag = LoopLag(registry)
        self.tenants = TenantGauges()
        self._is_leader = False
        self._depth: Callable[[], int] = lambda: 0
        self._succeeded_at_s = time.time()
        self._reconciled = Counts(
            registry,
            "fluxpay_operator_reconcile",
            "Turns of tenants, by what came of them.",
            ["result"],
            known=[(result,) for result in RESULTS],
        )
        self._duration = Distribution(
            registry,
            "fluxpay_operator_reconcile_duration_seconds",
            "How long a turn took.",
            bounds=_SECONDS,
        )
        self._admin = Counts(
            registry,
            "fluxpay_operator_admin_requests",
            "Requests to the admin API, by what it answered.",
            ["result"],
            known=[(result,) for result in CALLED],
        )
        registry.register(self.tenants)
        self._register_readings()

    def _register_readings(self) -> None:
        Readings(
            self._registry,
            "fluxpay_operator_leader",
            "1 while this process acts.",
            read=lambda: {(): self._is_leader},
        )
        Readings(
            self._registry,
            "fluxpay_operator_queue_depth",
            "Tenants that are due, being worked on or to be tried again.",
            # Whoever stands by works nothing off, so for it everybody would be due for ever.
            read=lambda: {(): self._depth() if self._is_leader else 0},
        )
        Readings(
            self._registry,
            "fluxpay_operator_last_success_timestamp_seconds",
            "When a turn last came to its end, in Unix time; now, while there is no tenant.",
            # Not told by one that stands by: it would hide that the leader gets nowhere.
            read=lambda: {(): self._ended_well_at_s} if self._is_leader else {},
        )

    @property
    def _ended_well_at_s(self) -> float:
        has_tenants = self._depth() > 0 or self.tenants.are_any
        return self._succeeded_at_s if has_tenants else time.time()

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure a turn."""
        begun_s = perf_counter()
        try:
            yield
        finally:
            self._duration.observe((), perf_counter() - begun_s)

    def reconciled(self, result: str) -> None:
        """Count a turn."""
        self._reconciled.count(result)
        if result in _COMPLETE:
            self._succeeded_at_s = time.time()

    def admin_called(self, result: str) -> None:
        """Count a request to the admin API."""
        self._admin.count(result)

    def leads(self, *, is_leader: bool) -> None:
        """Tell whether this process acts; one that does not knows no tenant."""
        self._is_leader = is_leader
        if is_leader:
            # Whoever just began to act has not failed to.
            self._succeeded_at_s = time.time()
        else:
            self.tenants.clear()

    def measure_queue(self, depth: Callable[[], int]) -> None:
        """Ask this for the depth of the queue, whenever somebody looks."""
        self._depth = depth

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Write all of it, in the format that the Accept field prefers."""
        return exposition(self._registry, accept)


class TenantGauges(Collector):
    """Conditions and ends of keys, as they were last told."""

    def __init__(self) -> None:
        self._statuses: dict[Key, Status] = {}

    @property
    def are_any(self) -> bool:
        """Whether any tenant was told of."""
        return bool(self._statuses)

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
        yield self._instants(
            "fluxpay_operator_key_expiry_timestamp_seconds",
            "When a key stops working, in Unix time.",
            lambda key: key.expires_at,
        )
        yield self._instants(
            "fluxpay_operator_key_rotation_timestamp_seconds",
            "When a key is due to be replaced by itself, in Unix time.",
            lambda key: key.rotates_at,
        )

    def _instants(
        self, name: str, help_text: str, instant: Callable[[KeyStatus], str | None]
    ) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, help_text, labels=["namespace", "tenant", "key"])
        for tenant, status in self._statuses.items():
            for key in status.keys:
                told = instant(key)
                if told is not None:
                    at_s = datetime.fromisoformat(told).astimezone(UTC).timestamp()
                    family.add_metric([tenant.namespace, tenant.name, key.name], at_s)
        return family
