"""The worker as a process, or as a part of one: start, work until told to stop, end in time.

Knows signals, the port of its probes, which jobs there are, the connections that they share, and
how long an ending may take. Must not know how the jobs are done.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from fluxpay.observability import logs, probes
from fluxpay.observability.exposition import LoopLag, exposition, new_registry
from fluxpay.observability.spans import recording
from fluxpay.observability.trace_settings import TraceSettings
from fluxpay.settings import WorkerSettings
from fluxpay.stores.connection import SessionLimits
from fluxpay.stores.database import Database, require_schema
from fluxpay.stores.measuring import Measuring
from fluxpay.stores.payment_changes import PaymentChanges
from fluxpay.stores.pool import Pool
from fluxpay.stores.proofs import Proofs
from fluxpay.stores.sealing import Sealing
from fluxpay.termination import termination
from fluxpay.worker.jobs import (
    EXPIRY_INTERVAL_S,
    MEASURE_INTERVAL_S,
    SEAL_INTERVAL_S,
    Expiry,
    Job,
    measure,
    seal,
)
from fluxpay.worker.loop import Ended, keep_doing
from fluxpay.worker.proving import LOOK_EVERY_S, PROOF_SILENCE_S_MAX, Proving
from fluxpay.worker.telemetry import Metrics, show_degraded
from fluxpay.worker.vitals import Vitals

# Nobody waits for the worker, so the worker waits for nobody: a payment that is locked can expire
# in the next round.
_LIMITS: Final = SessionLimits(lock_timeout_s=1.0)
# One for each job that changes something.
_CONNECTIONS: Final = 2
# A look at the books that takes long is one that costs much: it is given up, and told as failed.
_LOOKING_LIMITS: Final = SessionLimits(statement_timeout_s=5.0, lock_timeout_s=1.0)
_LOG: Final = logs.logger("fluxpay.worker")


async def run(
    settings: WorkerSettings,
    *,
    traces: TraceSettings | None = None,
    on_ready: Callable[[str], None],
) -> None:
    """Work until SIGTERM or SIGINT; a second signal ends the process at once.

    Args:
        settings: What it was told from outside.
        traces: Where spans go; None keeps none.
        on_ready: Called once, when the database has answered and work begins; is told where the
            probes answer.

    Raises:
        OSError: The port of the probes is taken.
        StoreUnavailable: The database cannot be reached at the start.
        SchemaBehind: `fluxpay migrate` has to run first.
    """
    logs.set_up(settings.log_level, settings.log_format)
    registry = new_registry()
    metrics, lag = Metrics(registry), LoopLag(registry)
    vitals = Vitals(asyncio.get_running_loop().time)
    show_degraded(registry, lambda: vitals.is_database_gone)
    with termination() as stop, lag.measured():
        probed = probes.answering(
            vitals,
            lambda accept: exposition(registry, accept),
            host=settings.worker_host,
            port=settings.worker_port,
        )
        async with probed as port, recording(traces):
            await work(
                settings,
                stop=stop,
                metrics=metrics,
                vitals=vitals,
                on_ready=lambda: on_ready(f"http://127.0.0.1:{port}"),
            )
        _LOG.info("stopped")


async def work(
    settings: WorkerSettings,
    *,
    stop: asyncio.Event,
    metrics: Metrics,
    vitals: Vitals | None = None,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Work until `stop` is set, inside a process that has its own idea of signals.

    Args:
        metrics: Where rounds are counted, and the books shown.
        vitals: Hears of every round; None where nobody asks.

    Raises: As `run`, and whatever bug ended a job.
    """
    pool = Database(settings.database_url, limits=_LIMITS).pool(max_size=_CONNECTIONS)
    looking = Database(settings.database_url, limits=_LOOKING_LIMITS).pool(max_size=1)
    vitals = vitals or Vitals(asyncio.get_running_loop().time)
    try:
        await require_schema(pool)
        jobs = (
            *_changing_jobs(pool),
            *_looking_jobs(settings, looking, stop=stop, metrics=metrics, vitals=vitals),
        )
        vitals.begin(jobs, (pool, looking))
        on_ready()

        def ended(one: Ended) -> None:
            metrics.round_ended(one)
            vitals.heard(one.job)

        await _keep_doing_all(
            jobs, stop, on_ended=ended, shutdown_timeout_s=settings.shutdown_timeout_s
        )
    finally:
        await asyncio.gather(pool.close(), looking.close())


def _changing_jobs(pool: Pool) -> tuple[Job, ...]:
    expiry, sealing = Expiry(PaymentChanges(pool)), Sealing(pool)
    return (
        Job("expiry", "expired authorizations", EXPIRY_INTERVAL_S, expiry.run),
        Job("sealing", "sealed transfers", SEAL_INTERVAL_S, lambda: seal(sealing)),
    )


def _looking_jobs(
    settings: WorkerSettings, pool: Pool, *, stop: asyncio.Event, metrics: Metrics, vitals: Vitals
) -> tuple[Job, ...]:
    measuring = Measuring(pool)
    looking = Job(
        "measure", "", MEASURE_INTERVAL_S, lambda: measure(measuring, show=metrics.measured)
    )
    metrics.proves_every(settings.verify_interval_s)
    if settings.verify_interval_s == 0:
        return (looking,)
    proving = Proving(
        Proofs(pool),
        settings.database_url,
        interval_s=settings.verify_interval_s,
        stop=stop,
        heard=lambda: vitals.heard("verify"),
    )
    look_every_s = min(LOOK_EVERY_S, settings.verify_interval_s)
    proofs = Job("verify", "proven tenants", look_every_s, proving.run, PROOF_SILENCE_S_MAX)
    return (looking, proofs)


async def _keep_doing_all(
    jobs: tuple[Job, ...],
    stop: asyncio.Event,
    *,
    on_ended: Callable[[Ended], None],
    shutdown_timeout_s: float,
) -> None:
    tasks = [
        asyncio.create_task(keep_doing(job, stop=stop, on_ended=on_ended), name=job.name)
        for job in jobs
    ]
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
