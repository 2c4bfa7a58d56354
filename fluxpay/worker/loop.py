"""Doing a job again and again, whatever the store does meanwhile.

Knows pauses: an interval between rounds, none while more is waiting, a growing one after faults;
all with jitter, so that a fleet of workers does not move in step. Must not know what the jobs do.

A fault of the store never ends the loop. Anything else is a bug, and ends the worker with its
traceback: whoever supervises the process starts a new one.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Final

import psycopg2

from fluxpay.observability import errors, logs
from fluxpay.observability.work import working
from fluxpay.stores.problems import StoreError
from fluxpay.worker.jobs import Job

JITTER: Final = 0.1
BACKOFF_S_MIN: Final = 0.5
BACKOFF_S_MAX: Final = 10.0
# A busy worker seals twice a second; its log tells the sum now and then.
TELL_EVERY_S: Final = 10.0

_LOG: Final = logs.logger("fluxpay.worker")


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of one round.

    Args:
        job: The name of the job.
        result: `done`, `idle` when there was nothing to do, or `failed`.
        items: How much was done.
    """

    job: str
    result: str
    items: int
    elapsed_s: float


RESULTS: Final = ("done", "idle", "failed")


async def keep_doing(
    job: Job, *, stop: asyncio.Event, on_ended: Callable[[Ended], None] = lambda _: None
) -> None:
    """Do a job until told to stop; a round that has begun is ended first.

    Args:
        on_ended: Told of every round.
    """
    tally = _Tally(job, monotonic_s=asyncio.get_running_loop().time)
    faults, pause_s = 0, 0.0
    while not await _is_set_within(stop, pause_s):
        begun_s = perf_counter()
        with working(job.name) as work:
            try:
                done = await job.run()
            except (StoreError, psycopg2.Error) as error:
                work.failed(error)
                on_ended(Ended(job.name, "failed", 0, perf_counter() - begun_s))
                faults += 1
                pause_s = back_off_s(faults)
                _LOG.warning(
                    "job_failed",
                    job=job.name,
                    next_try_s=round(pause_s, 1),
                    error=errors.told(error),
                )
                continue
            result = "done" if done.done else "idle"
            on_ended(Ended(job.name, result, done.done, perf_counter() - begun_s))
            if done.done:
                work.attributes["fluxpay.worker.items"] = done.done
            else:
                # Twice a second nothing is to be done, which nobody wants to read.
                work.forget()
            if faults:
                _LOG.info("job_recovered", job=job.name)
            faults = 0
            tally.add(done.done)
        pause_s = 0.0 if done.has_more else job.interval_s * _spread(JITTER)
    tally.tell()


def back_off_s(faults: int) -> float:
    """How long to wait after so many faults in a row: half of a doubling time, and up to all."""
    # The exponent is bounded too: a night of faults must not make a number out of range.
    whole_s = min(BACKOFF_S_MAX, BACKOFF_S_MIN * (1 << min(faults, 10)))
    return whole_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreading wants no secrecy


def _spread(share: float) -> float:
    return random.uniform(1 - share, 1 + share)  # noqa: S311 - as above


async def _is_set_within(event: asyncio.Event, pause_s: float) -> bool:
    if pause_s:
        try:
            async with asyncio.timeout(pause_s):
                await event.wait()
        except TimeoutError:
            return False
    return event.is_set()


class _Tally:
    """What was done and not told yet; the first line comes at once, the next ones now and then."""

    def __init__(self, job: Job, *, monotonic_s: Callable[[], float]) -> None:
        self._job = job
        self._monotonic_s = monotonic_s
        self._untold = 0
        self._quiet_until_s = 0.0

    def add(self, done: int) -> None:
        self._untold += done
        if self._monotonic_s() >= self._quiet_until_s:
            self.tell()

    def tell(self) -> None:
        if self._untold and self._job.did:
            _LOG.info("job_done", job=self._job.name, did=self._job.did, count=self._untold)
            self._untold = 0
            self._quiet_until_s = self._monotonic_s() + TELL_EVERY_S
