"""What a worker tells Prometheus: of its rounds, and of books sound, late or tampered with."""

import asyncio
import time
from collections.abc import Callable
from contextlib import closing

import psycopg2
import pytest
from prometheus_client import CollectorRegistry

from fluxpay.observability.exposition import exposition
from fluxpay.stores.measuring import LAG_MAX, Measuring, Standing
from fluxpay.stores.pool import Pool
from fluxpay.stores.sealing import Sealing
from fluxpay.worker.loop import Ended
from fluxpay.worker.telemetry import JOBS, Metrics
from tests.conftest import Database
from tests.e2e.ledgers import tamper
from tests.observability.exposed import OPENMETRICS, WORKER, Page, page, read
from tests.worker import processes
from tests.worker.books import pay, rows

PATIENCE_S = 60
ROUNDS = "fluxpay_worker_rounds_total"


async def shows(url: str, happened: Callable[[Page], bool]) -> Page:
    """Wait for a page on which something is so."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        found = await page(url)
        if happened(found):
            return found
        assert time.monotonic() < deadline_s, "the worker did not show it"
        await asyncio.sleep(0.1)


def has_measured(found: Page) -> bool:
    return found.value(ROUNDS, worker_job="measure", result="done") > 0


async def test_every_name_is_there_from_the_start_in_both_formats(database: Database) -> None:
    async with processes.working(database) as worker:
        for accept in ("text/plain", "application/openmetrics-text; version=1.0.0"):
            found = await page(worker.url, accept=accept)
            assert set() == WORKER - set(found.families)
            assert 0 == found.value("fluxpay_degraded", dependency="database")


async def test_rounds_are_counted_by_job_and_result(pool: Pool, database: Database) -> None:
    await pay(pool, count=3)
    async with processes.working(database) as worker:
        found = await shows(
            worker.url,
            lambda one: (
                one.value("fluxpay_worker_items_total", worker_job="sealing") == 3
                and one.value("fluxpay_worker_items_total", worker_job="verify") == 1
            ),
        )
        for job in JOBS:
            counted = found.value("fluxpay_worker_round_duration_seconds_count", worker_job=job)
            ended = [found.value(ROUNDS, worker_job=job, result=one) for one in ("done", "idle")]
            assert counted == sum(ended)


def test_the_last_success_is_that_of_the_start_until_a_round_does_not_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry, now_s = CollectorRegistry(), 1_000_000.0
    monkeypatch.setattr(time, "time", lambda: now_s)
    metrics = Metrics(registry)

    def last_success(job: str) -> float:
        text = exposition(registry, OPENMETRICS)[0].decode()
        name = "fluxpay_worker_last_success_timestamp_seconds"
        return read(text, is_openmetrics=True).value(name, worker_job=job)

    assert [now_s] * len(JOBS) == [last_success(job) for job in JOBS]
    now_s += 60
    metrics.round_ended(Ended("sealing", "failed", 0, 0.1))
    assert now_s - 60 == last_success("sealing")
    for result in ("idle", "done"):
        now_s += 60
        metrics.round_ended(Ended("sealing", result, 0, 0.1))
        assert (now_s, 1_000_000.0) == (last_success("sealing"), last_success("expiry"))


async def test_a_job_that_fails_is_counted_as_such(database: Database) -> None:
    rows(database, "REVOKE EXECUTE ON FUNCTION due_authorizations FROM fluxpay_app")
    async with processes.working(database) as worker:
        found = await shows(
            worker.url, lambda one: one.value(ROUNDS, worker_job="expiry", result="failed") > 0
        )
        assert 0 == found.value(ROUNDS, worker_job="expiry", result="done")
        assert 0 == found.value("fluxpay_degraded", dependency="database")


async def test_sound_books_are_shown_as_sound(pool: Pool, database: Database) -> None:
    await pay(pool, count=4, tenants=2)
    await Sealing(pool).seal(100)
    async with processes.working(database) as worker:
        found = await shows(worker.url, has_measured)
    assert 0 == found.value("fluxpay_ledger_imbalance_minor", currency="EUR")
    assert 0 == found.value("fluxpay_checkpoint_lag_transfers")
    assert 0 == found.value("fluxpay_outbox_oldest_age_seconds")


async def test_what_is_not_sealed_yet_is_shown_with_its_age(pool: Pool, database: Database) -> None:
    with closing(psycopg2.connect(database.owner_url)) as older, older.cursor() as cursor:
        # It keeps everything that comes after it from being sealed.
        cursor.execute("SELECT pg_current_xact_id()")
        await pay(pool, count=3)
        await asyncio.sleep(1)
        async with processes.working(database) as worker:
            found = await shows(worker.url, has_measured)
    assert 3 == found.value("fluxpay_checkpoint_lag_transfers")
    assert 1 <= found.value("fluxpay_outbox_oldest_age_seconds") < PATIENCE_S


async def test_the_lag_is_counted_no_further_than_its_bound(pool: Pool, database: Database) -> None:
    await pay(pool)
    copies = """
        INSERT INTO ledger_transfers (tenant_id, id, kind, payment_id, debit_account_id,
            credit_account_id, amount, currency, created_at)
        SELECT tenant_id, id || n, kind, payment_id, debit_account_id, credit_account_id, amount,
            currency, created_at FROM ledger_transfers, generate_series(1, %s) AS n
    """
    rows(database, copies, LAG_MAX + 100)
    assert LAG_MAX == (await Measuring(pool).standing()).unsealed


TAMPERED = {
    "a total is edited": "UPDATE account_entries SET posted_debit = 7 WHERE direction = 'credit'",
    "a side is taken away": "DELETE FROM account_entries WHERE direction = 'credit'",
}


@pytest.mark.parametrize("how", TAMPERED)
async def test_an_imbalance_of_the_statements_is_shown_by_currency(
    pool: Pool, database: Database, how: str
) -> None:
    await pay(pool)
    await Sealing(pool).seal(100)
    tamper(database.owner_url, TAMPERED[how])
    async with processes.working(database) as worker:
        found = await shows(worker.url, has_measured)
    assert 0 < found.value("fluxpay_ledger_imbalance_minor", currency="EUR")


async def test_a_currency_that_is_none_shows_its_imbalance_under_one_name(
    pool: Pool, database: Database
) -> None:
    await pay(pool)
    await Sealing(pool).seal(100)
    tamper(
        database.owner_url,
        "UPDATE account_entries SET currency = 'QQ' || left(direction, 1)",
    )
    async with processes.working(database) as worker:
        found = await shows(worker.url, has_measured)
    assert 0 < found.value("fluxpay_ledger_imbalance_minor", currency="unknown")


async def test_no_tenants_row_is_shown_by_what_measures_them_all(pool: Pool) -> None:
    await pay(pool, count=2, tenants=2)
    await Sealing(pool).seal(100)
    async with pool.connection() as connection:
        lag = await connection.fetch_all("SELECT * FROM ledger_lag(10)")
        imbalance = await connection.fetch_all("SELECT * FROM ledger_imbalance()")
    assert [(0, None)] == lag
    assert [("EUR", 0)] == imbalance


def test_what_was_never_looked_at_is_not_told_as_well() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    books = (
        "fluxpay_outbox_oldest_age_seconds",
        "fluxpay_checkpoint_lag_transfers",
        "fluxpay_ledger_imbalance_minor",
        "fluxpay_verify_findings",
    )

    def told() -> list[float]:
        found = read(exposition(registry, OPENMETRICS)[0].decode(), is_openmetrics=True)
        return [sample.value for one in books for sample in found.families[one].samples]

    assert [] == told()
    metrics.measured(Standing(7, 2.5, {"EUR": 0}, None, 0.0))
    assert [2.5, 7, 0, 0] == told()
