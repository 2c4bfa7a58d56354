"""The worker proves the books by itself: one of many, as often as it is told, to their end."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import psycopg2
import pytest
from prometheus_client import CollectorRegistry

from fluxpay.observability.exposition import exposition
from fluxpay.settings import WorkerSettings
from fluxpay.stores import proofs
from fluxpay.stores.pool import Pool
from fluxpay.stores.proofs import Proofs
from fluxpay.worker import process, proving
from fluxpay.worker.jobs import Round
from fluxpay.worker.process import work
from fluxpay.worker.proving import ProofFailed, Proving
from fluxpay.worker.telemetry import Metrics
from tests.conftest import Database, Lines
from tests.e2e.ledgers import tamper, write_ledger
from tests.observability.exposed import OPENMETRICS, Page, read
from tests.worker import processes
from tests.worker.books import pay, rows, until

HOUR_S = 3600.0
WAITING = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def job(pool: Pool, database: Database, *, stop: asyncio.Event | None = None) -> Proving:
    return Proving(
        Proofs(pool),
        database.app_url,
        interval_s=HOUR_S,
        stop=stop or asyncio.Event(),
        heard=lambda: None,
    )


def proof(database: Database) -> tuple[bool, bool, int]:
    """Whether somebody is at a proof, whether one came to its end, and what it found."""
    ((heard, ended, findings),) = rows(
        database,
        "SELECT heard_at IS NOT NULL, ended_at IS NOT NULL, findings FROM ledger_proof",
    )
    return heard, ended, findings


@asynccontextmanager
async def working(database: Database, **settings: Any) -> AsyncIterator[CollectorRegistry]:
    """A worker in this process; gives what it shows."""
    stop, registry = asyncio.Event(), CollectorRegistry()
    metrics = Metrics(registry)
    told = WorkerSettings(database_url=database.app_url, **settings)
    task = asyncio.create_task(work(told, stop=stop, metrics=metrics))
    try:
        yield registry
    finally:
        stop.set()
        async with asyncio.timeout(30):
            await task


def shown(registry: CollectorRegistry) -> Page:
    return read(exposition(registry, OPENMETRICS)[0].decode(), is_openmetrics=True)


async def test_sound_books_are_proven_and_the_proof_is_told(
    database: Database, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "MEASURE_INTERVAL_S", 0.1)
    await write_ledger(database.app_url)
    ((before_s,),) = rows(database, "SELECT extract(epoch FROM now())::float8")
    async with working(database) as registry:
        name = "fluxpay_verify_last_success_timestamp_seconds"
        await until(lambda: proof(database)[1])
        ((ended_s,),) = rows(database, "SELECT extract(epoch FROM ended_at) FROM ledger_proof")
        await until(lambda: shown(registry).value(name) == float(ended_s))
        assert 0 == shown(registry).value("fluxpay_verify_findings")
        assert 3600 == shown(registry).value("fluxpay_verify_interval_seconds")
    assert (False, True, 0) == proof(database)
    assert before_s < ended_s
    assert [] == [one for one in lines() if one["level"] == "error"]


async def test_a_drift_is_a_gauge_in_every_worker_and_one_line_of_the_log(
    database: Database, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "MEASURE_INTERVAL_S", 0.1)
    ledger = await write_ledger(database.app_url)
    tamper(database.owner_url, f"UPDATE payments SET amount = 9999 WHERE id = '{ledger.captured}'")
    name = "fluxpay_verify_findings"
    async with working(database) as one, working(database) as other:

        def told_by_both() -> bool:
            # One that has not looked yet tells nothing.
            pages = [shown(each).families[name].samples for each in (one, other)]
            return all(samples and samples[0].value > 0 for samples in pages)

        await until(told_by_both)
        found = shown(one).value(name)
    told = [line for line in lines() if line["event"] == "books_do_not_hold"]
    assert [("error", found, 2, 1, "payments", ledger.captured)] == [
        (
            *(line["level"], line["findings"], line["tenants"], line["drifted_tenants"]),
            *(line["first_table"], line["first_id"]),
        )
        for line in told
    ]
    assert proof(database) == (False, True, found)


async def test_of_two_workers_one_proves_and_the_other_looks_on(
    pool: Pool, other_pool: Pool, database: Database
) -> None:
    await pay(pool, count=2, tenants=2)
    rounds = await asyncio.gather(job(pool, database).run(), job(other_pool, database).run())
    assert {Round(2, has_more=False), Round(0, has_more=False)} == set(rounds)
    # And until the time has come nobody does.
    assert Round(0, has_more=False) == await job(other_pool, database).run()
    rows(database, "UPDATE ledger_proof SET ended_at = now() - interval '61 minutes'")
    assert Round(2, has_more=False) == await job(other_pool, database).run()


async def test_whoever_falls_silent_is_taken_for_dead(
    pool: Pool, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = Proofs(pool)
    first = await claims.claim(interval_s=HOUR_S)
    assert first is not None
    assert await claims.claim(interval_s=HOUR_S) is None
    monkeypatch.setattr(proofs, "SILENCE_S_MAX", 0.2)
    await claims.heard(first)
    assert await claims.claim(interval_s=HOUR_S) is None
    await asyncio.sleep(0.3)
    second = await claims.claim(interval_s=HOUR_S)
    assert second is not None
    # The one that was taken for dead has nothing to say any more.
    await claims.end(first, findings=5)
    assert (True, False, 0) == proof(database)
    await claims.end(second, findings=0)
    assert (False, True, 0) == proof(database)


async def test_a_proof_gives_signs_of_life_while_it_goes_on(
    pool: Pool, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proving, "_SIGN_EVERY_S", 0.05)
    with closing(psycopg2.connect(database.owner_url)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE idempotency_records")
        running = asyncio.create_task(job(pool, database).run())
        await until(lambda: proof(database)[0])
        ((first,),) = rows(database, "SELECT heard_at FROM ledger_proof")
        await until(lambda: rows(database, "SELECT heard_at > %s FROM ledger_proof", first)[0][0])
        other.rollback()
        assert Round(0, has_more=False) == await running
    assert (False, True, 0) == proof(database)


async def test_a_worker_told_to_stop_in_the_middle_of_a_proof_ends_and_lets_another_begin(
    pool: Pool, database: Database
) -> None:
    await pay(pool)
    with closing(psycopg2.connect(database.owner_url)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE idempotency_records")
        async with processes.working(database) as worker:
            await until(lambda: bool(rows(database, WAITING)))
            assert 0 == await processes.stop(worker)
        # The statement it waited for is cancelled too.
        await until(lambda: not rows(database, WAITING))
        assert (False, False, 0) == proof(database)
        other.rollback()
    assert Round(1, has_more=False) == await job(pool, database).run()


async def test_a_bug_in_a_check_breaks_the_proof_and_not_the_worker(
    pool: Pool, database: Database, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("bug")

    monkeypatch.setattr(proving, "prove", broken)
    await pay(pool)
    with pytest.raises(ProofFailed):
        await job(pool, database).run()
    assert ["proof_broken"] == [one["event"] for one in lines()]
    assert (False, False, 0) == proof(database)


async def test_a_database_that_fails_the_proof_is_an_expected_fault(
    pool: Pool, database: Database
) -> None:
    rows(database, "REVOKE EXECUTE ON FUNCTION tenants_in_books FROM fluxpay_app")
    await pay(pool)
    with pytest.raises(psycopg2.Error):
        await job(pool, database).run()
    assert (False, False, 0) == proof(database)


async def test_an_interval_of_0_proves_nothing_and_shows_neither_age_nor_interval(
    pool: Pool, database: Database
) -> None:
    await pay(pool)
    async with working(database, verify_interval_s=0) as registry:
        await until(lambda: shown(registry).families["fluxpay_checkpoint_lag_transfers"].samples)
        await asyncio.sleep(0.5)
        families = shown(registry).families
        assert [] == families["fluxpay_verify_last_success_timestamp_seconds"].samples
        assert [] == families["fluxpay_verify_interval_seconds"].samples
    assert (False, False, 0) == proof(database)


async def test_no_thread_of_a_proof_is_left_behind(pool: Pool, database: Database) -> None:
    await pay(pool)
    await job(pool, database).run()
    await until(lambda: "proof" not in {one.name for one in threading.enumerate()})
