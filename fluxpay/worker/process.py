"""The worker as a process, or as a part of one: start, work until told to stop, end in time.

Knows signals, the connections that the jobs share, and how long an ending may take. Must not know
what the jobs do.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from fluxpay.observability import logs
from fluxpay.settings import WorkerSettings
from fluxpay.stores.connection import SessionLimits
from fluxpay.stores.database import Database, require_schema
from fluxpay.termination import termination
from fluxpay.worker.jobs import Job, jobs_on
from fluxpay.worker.loop import keep_doing

# Nobody waits for the worker, so the worker waits for nobody: a payment that is locked can expire
# in the next round.
_LIMITS: Final = SessionLimits(lock_timeout_s=1.0)
# One for each job.
_CONNECTIONS: Final = 2
_LOG: Final = logs.logger("fluxpay.worker")


async def run(settings: WorkerSettings, *, on_ready: Callable[[], None]) -> None:
    """Work until SIGTERM or SIGINT; a second signal ends the process at once.

    Args:
        settings: What it was told from outside.
        on_ready: Called once, when the database has answered and work begins.

    Raises:
        StoreUnavailable: The database cannot be reached at the start.
        SchemaBehind: `fluxpay migrate` has to run first.
    """
    logs.set_up(settings.log_level, settings.log_format)
    with termination() as stop:
        await work(settings, stop=stop, on_ready=on_ready)
        _LOG.info("stopped")


async def work(
    settings: WorkerSettings, *, stop: asyncio.Event, on_ready: Callable[[], None] = lambda: None
) -> None:
    """Work until `stop` is set, inside a process that has its own idea of signals.

    Raises: As `run`, and whatever bug ended a job.
    """
    pool = Database(settings.database_url, limits=_LIMITS).pool(max_size=_CONNECTIONS)
    try:
        await require_schema(pool)
        on_ready()
        await _keep_doing_all(jobs_on(pool), stop, shutdown_timeout_s=settings.shutdown_timeout_s)
    finally:
        await pool.close()


async def _keep_doing_all(
    jobs: tuple[Job, ...], stop: asyncio.Event, *, shutdown_timeout_s: float
) -> None:
    tasks = [asyncio.create_task(keep_doing(job, stop=stop), name=job.name) for job in jobs]
    stopped = asyncio.ensure_future(stop.wait())
    try:
        # A job that ends without being told has met a bug, and the others end with it.
        await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        _, late = await asyncio.wait(tasks, timeout=shutdown_timeout_s)
        for task in late:
            _LOG.warning("job_cut_off", job=task.get_name())
    finally:
        # A cut statement is rolled back by the server, and done again by the next worker.
        stopped.cancel()
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
