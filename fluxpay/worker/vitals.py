"""Whether the worker is well: what its probes answer.

Alive means that the loop turns, which answering shows, and that each job was heard of lately,
whether its rounds succeed or fail: a job that hangs is cured by a new process, a database that is
gone is not. Ready means that the database is there. Must not know what the jobs do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluxpay.observability.probes import verdict
from fluxpay.stores.pool import are_cut_off

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fluxpay.stores.pool import Pool
    from fluxpay.worker.jobs import Job


class Vitals:
    """Tells how the worker is.

    Args:
        monotonic_s: A clock that is never set.
    """

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._pools: tuple[Pool, ...] = ()
        self._silence_s_max: dict[str, float] = {}
        self._heard_s: dict[str, float] = {}

    def begin(self, jobs: Iterable[Job], pools: Iterable[Pool]) -> None:
        """Expect to hear of these jobs from now on."""
        self._pools = tuple(pools)
        for job in jobs:
            self._silence_s_max[job.name] = job.interval_s + job.silence_s_max
            self.heard(job.name)

    def heard(self, job: str) -> None:
        """Note that a job goes on; from any thread."""
        self._heard_s[job] = self._monotonic_s()

    @property
    def is_database_gone(self) -> bool:
        """Whether Postgres is gone, by the latest that any pool knows."""
        return are_cut_off(self._pools)

    def checks(self) -> dict[str, str]:
        """Which jobs go on."""
        now_s = self._monotonic_s()
        return {
            job: verdict(now_s - self._heard_s[job], at_most=at_most)
            for job, at_most in self._silence_s_max.items()
        }

    def readiness(self) -> dict[str, str]:
        """Whether work has begun, and can be done."""
        return {
            "start": "ok" if self._heard_s else "down",
            "database": "down" if self.is_database_gone else "ok",
        }

    def about(self) -> dict[str, str]:
        """Nothing else: all workers are alike."""
        return {}
