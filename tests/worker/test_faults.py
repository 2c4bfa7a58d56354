"""A worker whose database is lost: it goes on by itself when the database is back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from fluxpay.embedded.postgres import EmbeddedPostgres
from fluxpay.settings import WorkerSettings
from fluxpay.stores.connection import SessionLimits
from fluxpay.stores.database import Database as Service
from fluxpay.stores.migrations import migrate
from fluxpay.stores.pool import Pool
from fluxpay.stores.problems import StoreError
from fluxpay.worker.jobs import Expiry, Round
from fluxpay.worker.process import work
from fluxpay.worker.telemetry import Metrics
from tests.conftest import Database, Lines
from tests.faults.proxy import FaultProxy
from tests.worker.books import assert_each_transfer_is_sealed_once, count, pay, rows, until


def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


@asynccontextmanager
async def working(url: str, *, shutdown_timeout_s: int = 10) -> AsyncIterator[None]:
    """A worker in this process, told to stop at the end of the block."""
    stop, ready = asyncio.Event(), asyncio.Event()
    settings = WorkerSettings(database_url=url, shutdown_timeout_s=shutdown_timeout_s)
    task = asyncio.create_task(work(settings, stop=stop, metrics=metrics(), on_ready=ready.set))
    async with asyncio.timeout(30):
        await ready.wait()
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(30):
            await task


@pytest.fixture
async def proxy(server_socket: Path) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(server_socket) as proxy:
        yield proxy


def through(proxy: FaultProxy, database: Database) -> str:
    return f"postgresql://fluxpay_app@{proxy.host}:{proxy.port}/{database.name}"


async def seals_all(pool: Pool, database: Database) -> None:
    """Pay, and wait until the worker has come to it."""
    await pay(pool, count=3)
    paid = count(database, "ledger_transfers")
    await until(lambda: paid == count(database, "sealed_transfers"))


async def test_a_worker_outlives_cuts_and_a_server_that_refuses(
    pool: Pool, database: Database, proxy: FaultProxy
) -> None:
    async with working(through(proxy, database)):
        await seals_all(pool, database)
        for _ in range(5):
            await pay(pool)
            # The reply is lost, and with it whether anything was sealed.
            proxy.cut_after_reply_bytes(0)
            await until(lambda: proxy._reply_bytes_left is None)
        await proxy.refuse()
        await pay(pool, count=3)
        refused = count(database, "sealed_transfers")
        await asyncio.sleep(1)
        assert refused == count(database, "sealed_transfers")
        await proxy.heal()
        await seals_all(pool, database)
    assert_each_transfer_is_sealed_once(database)


async def test_a_worker_in_a_black_hole_is_told_to_stop_and_ends(
    pool: Pool, database: Database, proxy: FaultProxy, lines: Lines
) -> None:
    async with working(through(proxy, database), shutdown_timeout_s=1):
        await seals_all(pool, database)
        proxy.blackhole()
        # Long enough for a round to have begun that will not end.
        await asyncio.sleep(1)
    assert ["sealing"] == [one["job"] for one in lines() if one["event"] == "job_cut_off"]


async def test_a_worker_outlives_a_restart_of_the_database(tmp_path: Path) -> None:
    server = EmbeddedPostgres.start(tmp_path)
    migrate(server.owner_url(), report=lambda _: None)
    books = Database(server.owner_url(), server.app_url(), "fluxpay")
    pool = Service(books.app_url, limits=SessionLimits()).pool(max_size=8)
    async with working(books.app_url):
        await seals_all(pool, books)
        server.stop()
        with pytest.raises(StoreError):
            await pay(pool)
        await asyncio.sleep(1)
        server = EmbeddedPostgres.start(tmp_path)
        await seals_all(pool, books)
    assert_each_transfer_is_sealed_once(books)
    await pool.close()
    server.stop()


async def test_one_job_that_fails_holds_up_no_other(
    pool: Pool, database: Database, lines: Lines
) -> None:
    rows(database, "REVOKE EXECUTE ON FUNCTION due_authorizations FROM fluxpay_app")
    async with working(database.app_url):
        await until(
            lambda: any(one["event"] == "job_failed" and one["job"] == "expiry" for one in lines())
        )
        await seals_all(pool, database)


async def test_a_bug_in_one_job_ends_the_worker_with_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: Expiry) -> Round:
        raise KeyError("bug")

    monkeypatch.setattr(Expiry, "run", broken)
    settings = WorkerSettings(database_url=database.app_url)
    with pytest.raises(KeyError):
        async with asyncio.timeout(30):
            await work(settings, stop=asyncio.Event(), metrics=metrics())
