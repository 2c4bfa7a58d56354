"""What the worker counts about its rounds, and shows of the books.

Knows names, labels and buckets; the labels' values are the jobs and currencies of ISO 4217. Must
not know how a job is done. In a process of its own the worker has a registry of its own; inside
`fluxpay dev` it is the service's, since one process has one page.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from fluxpay.core.money import EXPONENTS
from fluxpay.observability.instruments import Counts, Distribution, Readings
from fluxpay.worker.loop import RESULTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client.registry import CollectorRegistry

    from fluxpay.observability.instruments import Labels
    from fluxpay.stores.measuring import Standing
    from fluxpay.worker.loop import Ended

JOBS: Final = ("expiry", "sealing", "measure", "verify")
UNKNOWN_CURRENCY: Final = "unknown"
_ROUNDS_S: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_EACH_JOB: Final = tuple((job,) for job in JOBS)
# Not `job`: Prometheus gives that name to what it scrapes.
_JOB: Final = "worker_job"


class Metrics:
    """The instruments of a worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._standing: Standing | None = None
        self._proves_every_s = 0
        # Before a first success its time is that of the start: an age is then what it seems, and
        # an alert on it waits as long as it would after any other success.
        self._started_at_s = time.time()
        self._succeeded_at_s: dict[Labels, float] = dict.fromkeys(_EACH_JOB, self._started_at_s)
        self._register_rounds(registry)
        self._register_books(registry)

    def _register_rounds(self, registry: CollectorRegistry) -> None:
        self._rounds = Counts(
            registry,
            "fluxpay_worker_rounds",
            "Rounds of the worker's jobs, by how they ended.",
            [_JOB, "result"],
            known=[(job, result) for job in JOBS for result in RESULTS],
        )
        self._durations = Distribution(
            registry,
            "fluxpay_worker_round_duration_seconds",
            "How long a round took.",
            labels=[_JOB],
            known=_EACH_JOB,
            bounds=_ROUNDS_S,
        )
        self._items = Counts(
            registry,
            "fluxpay_worker_items",
            "What was done in rounds: payments expired, transfers sealed, looks, tenants proven.",
            [_JOB],
            known=_EACH_JOB,
        )
        Readings(
            registry,
            "fluxpay_worker_last_success_timestamp_seconds",
            "When a round last came to its end, in Unix time; at first, when the worker started.",
            [_JOB],
            read=lambda: self._succeeded_at_s,
        )

    def _register_books(self, registry: CollectorRegistry) -> None:
        Readings(
            registry,
            "fluxpay_outbox_oldest_age_seconds",
            "Since the oldest event was written that the worker has not passed yet.",
            read=lambda: self._of_books(lambda standing: standing.oldest_age_s),
        )
        Readings(
            registry,
            "fluxpay_checkpoint_lag_transfers",
            "Transfers that are not sealed yet, counted up to 10,000.",
            read=lambda: self._of_books(lambda standing: standing.unsealed),
        )
        Readings(
            registry,
            "fluxpay_ledger_imbalance_minor",
            "Debits minus credits of all statements; anything but 0 is a fault of the books.",
            ["currency"],
            read=self._imbalance,
        )
        Readings(
            registry,
            "fluxpay_verify_findings",
            "Rows that the last proof of the books found fault with, in all workers.",
            read=lambda: self._of_books(lambda standing: standing.findings or 0),
        )
        Readings(
            registry,
            "fluxpay_verify_last_success_timestamp_seconds",
            "When the books were last read to their end, whatever was found, in Unix time.",
            read=self._proven_at_s,
        )
        Readings(
            registry,
            "fluxpay_verify_interval_seconds",
            "How long after one proof of the books the next is due.",
            read=lambda: {(): self._proves_every_s} if self._proves_every_s else {},
        )

    def proves_every(self, interval_s: int) -> None:
        """Tell of proofs; of none at 0, since an age that only grows would look like a fault."""
        self._proves_every_s = interval_s

    def round_ended(self, ended: Ended) -> None:
        """Count a round."""
        self._rounds.count(ended.job, ended.result)
        self._durations.observe((ended.job,), ended.elapsed_s)
        self._items.add((ended.job,), ended.items)
        if ended.result != "failed":
            self._succeeded_at_s[(ended.job,)] = time.time()

    def measured(self, standing: Standing) -> None:
        """Show the books as they stand now."""
        self._standing = standing

    def _of_books(self, figure: Callable[[Standing], float]) -> dict[Labels, float]:
        # Before the first look nothing is told: a 0 would say that all is well.
        return {} if self._standing is None else {(): figure(self._standing)}

    def _proven_at_s(self) -> dict[Labels, float]:
        if not self._proves_every_s:
            return {}
        return {(): (self._standing and self._standing.proven_at_s) or self._started_at_s}

    def _imbalance(self) -> dict[Labels, float]:
        shown: dict[Labels, float] = {}
        for currency, minor in (self._standing.imbalance_minor if self._standing else {}).items():
            label = currency if currency in EXPONENTS else UNKNOWN_CURRENCY
            # Two that are unknown must not hide each other.
            shown[(label,)] = shown.get((label,), 0) + (minor if label == currency else abs(minor))
        return shown


def show_degraded(registry: CollectorRegistry, is_database_gone: Callable[[], bool]) -> None:
    """Show whether the database is gone, in a process that is the worker's own."""
    Readings(
        registry,
        "fluxpay_degraded",
        "1 while a dependency is gone.",
        ["dependency"],
        read=lambda: {("database",): is_database_gone()},
    )
