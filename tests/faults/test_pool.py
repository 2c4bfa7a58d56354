"""Who gets a session, in which order, and what becomes of the ones that come back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import psycopg2
import pytest

from fluxpay.stores.connection import Connection, SessionLimits
from fluxpay.stores.pool import Pool, are_cut_off
from fluxpay.stores.problems import PoolExhausted, StoreUnavailable
from tests.faults.proxy import FaultProxy

WHO = "SELECT pg_backend_pid()"


@asynccontextmanager
async def _pool(
    url: str,
    *,
    max_size: int = 1,
    acquire_timeout_s: float = 10,
    max_lifetime_s: float = 600,
    on_connect: Callable[[Connection], Awaitable[None]] | None = None,
) -> AsyncIterator[Pool]:
    pool = Pool(
        url,
        max_size=max_size,
        limits=SessionLimits(),
        connect_timeout_s=20,
        acquire_timeout_s=acquire_timeout_s,
        max_lifetime_s=max_lifetime_s,
        on_connect=on_connect,
    )
    try:
        # No test here is slow: a waiter that nobody wakes must not look like one that is patient.
        async with asyncio.timeout(30):
            yield pool
    finally:
        await pool.close(timeout_s=0.1)


async def _who(pool: Pool) -> int:
    async with pool.connection() as connection:
        row = await connection.fetch_one(WHO)
    assert row is not None
    return int(row[0])


async def _until_waiting(pool: Pool, count: int) -> None:
    async with asyncio.timeout(5):
        while pool.waiting < count:
            await asyncio.sleep(0)


def _through(proxy: FaultProxy) -> str:
    return f"postgresql://fluxpay_owner@{proxy.host}:{proxy.port}/faults?sslmode=disable"


async def test_a_session_is_used_again_and_the_last_one_back_goes_out_first(url: str) -> None:
    async with _pool(url, max_size=3) as pool:
        await pool.warm(2)
        assert (2, 2) == (pool.size, pool.idle)
        async with pool.connection() as first, pool.connection() as second:
            pids = [await first.fetch_one(WHO), await second.fetch_one(WHO)]
            assert (2, 0) == (pool.size, pool.idle)
        # The block gives back its second session first, so the first one lies on top.
        assert pids[0] == (await _who(pool),)
        assert (2, 2) == (pool.size, pool.idle)


@pytest.mark.parametrize("fault", ["closed", "cut by the server", "in a transaction", "in a query"])
async def test_a_waiter_wakes_when_a_broken_or_busy_connection_is_released(
    url: str, fault: str
) -> None:
    query: asyncio.Task[str] | None = None
    async with _pool(url) as pool:
        async with pool.connection() as connection:
            waiter = asyncio.create_task(_who(pool))
            await _until_waiting(pool, 1)
            match fault:
                case "closed":
                    connection.close()
                case "cut by the server":
                    with pytest.raises(StoreUnavailable):
                        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
                case "in a transaction":
                    await connection.execute("BEGIN")
                case _:
                    query = asyncio.create_task(connection.execute("SELECT pg_sleep(20)"))
                    await asyncio.sleep(0.05)
        async with asyncio.timeout(5):
            assert await waiter
        assert connection.broken
        assert (1, 1, 0) == (pool.size, pool.idle, pool.waiting)
        if query is not None:
            with pytest.raises(StoreUnavailable):
                await query


async def test_a_session_left_in_a_transaction_ends_at_once_and_keeps_no_lock(url: str) -> None:
    async with _pool(url) as pool:
        async with pool.connection() as connection:
            await connection.execute("BEGIN")
        assert connection.broken
        assert (0, 0) == (pool.size, pool.idle)


async def test_a_dial_into_a_black_hole_starves_nobody_else(url: str, server_socket: Path) -> None:
    assert url
    async with (
        FaultProxy(server_socket) as proxy,
        _pool(_through(proxy), max_size=2, acquire_timeout_s=5) as pool,
    ):
        async with pool.connection() as connection:
            await connection.execute("SELECT 1")
            accepted = proxy.accepted
            proxy.blackhole()
            lost = asyncio.create_task(_who(pool))
            while proxy.accepted == accepted:
                await asyncio.sleep(0.01)
            waiter = asyncio.create_task(_borrow(pool))
            await _until_waiting(pool, 1)
        async with asyncio.timeout(5):
            assert connection is await waiter
        lost.cancel()
        with pytest.raises(asyncio.CancelledError):
            await lost
        assert (1, 1) == (pool.size, pool.idle)


async def _borrow(pool: Pool) -> Connection:
    async with pool.connection() as connection:
        return connection


async def test_waiters_are_served_in_order_of_arrival(url: str) -> None:
    served: list[int] = []

    async def borrow(number: int) -> None:
        async with pool.connection():
            served.append(number)
            await asyncio.sleep(0.001)

    async with _pool(url) as pool:
        async with pool.connection():
            tasks = [asyncio.create_task(borrow(number)) for number in range(8)]
            await _until_waiting(pool, 8)
        # No turn of the loop since the session came back: it must not be snatched from the first.
        await borrow(8)
        await asyncio.gather(*tasks)
    assert list(range(9)) == served


async def test_a_waiter_gives_up_after_a_bounded_time(url: str) -> None:
    async with _pool(url, acquire_timeout_s=0.05) as pool:
        async with pool.connection():
            with pytest.raises(PoolExhausted):
                await _who(pool)
            assert 0 == pool.waiting
        assert await _who(pool)


async def test_a_cancelled_waiter_leaks_no_slot(url: str) -> None:
    async with _pool(url) as pool:
        async with pool.connection():
            early, late = (asyncio.create_task(_who(pool)) for _ in range(2))
            await _until_waiting(pool, 2)
            early.cancel()
            await asyncio.gather(early, return_exceptions=True)
        # The slot is handed to the second waiter already; it is cancelled before it can run.
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
        assert (early.cancelled(), late.cancelled()) == (True, True)
        async with asyncio.timeout(5):
            assert await _who(pool)


async def test_a_failed_dial_or_preparation_frees_its_slot(url: str, server_socket: Path) -> None:
    assert url
    prepared: list[bool] = []

    async def prepare(connection: Connection) -> None:
        prepared.append(True)
        if len(prepared) == 1:
            await connection.execute("SELECT 1 FROM nowhere")

    async with (
        FaultProxy(server_socket) as proxy,
        _pool(_through(proxy), on_connect=prepare) as pool,
    ):
        await proxy.refuse()
        with pytest.raises(StoreUnavailable):
            await _who(pool)
        await proxy.heal()
        with pytest.raises(Exception, match="nowhere"):
            await _who(pool)
        assert 0 == pool.size
        assert await _who(pool)
        assert await _who(pool)
    assert 2 == len(prepared)


async def test_the_next_borrower_sees_nothing_of_the_last_ones_tenant(url: str) -> None:
    async with _pool(url) as pool:
        async with pool.connection() as connection:
            async with connection.transaction(tenant="ten_1"):
                await connection.execute("SELECT 1")
            pid = await connection.fetch_one(WHO)
        async with pool.connection() as connection:
            row = await connection.fetch_one(
                "SELECT pg_backend_pid(), current_setting('fluxpay.tenant', true)"
            )
    assert pid is not None
    assert (*pid, "") == row


async def test_sessions_that_a_restart_has_ended_are_replaced_unseen(url: str) -> None:
    async with _pool(f"{url}&application_name=restarted", max_size=4) as pool:
        await pool.warm(4)
        # A blocking call: the loop has no turn in which it could hear of it before the borrowers.
        with closing(psycopg2.connect(url)) as killer, killer.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE application_name = 'restarted'"
            )
            ended = [row[0] for row in cursor.fetchall()]
        pids = await asyncio.gather(*(_who(pool) for _ in range(4)))
        assert [True] * 4 == ended
        assert 4 == len(set(pids))
        assert 4 == pool.size


async def test_a_session_past_its_lifetime_is_replaced(url: str) -> None:
    async with _pool(url, max_size=2, max_lifetime_s=0.5) as pool:
        first = await _who(pool)
        await asyncio.sleep(0.6)
        assert first != await _who(pool)
        assert 1 == pool.size


async def test_a_session_at_the_bottom_of_the_stack_ends_in_its_time(url: str) -> None:
    async with _pool(url, max_size=2, max_lifetime_s=0.3) as pool:
        await pool.warm(2)
        async with pool.connection():
            await asyncio.sleep(0.31)
        assert (0, 0) == (pool.size, pool.idle)


async def test_close_waits_for_those_who_have_borrowed(url: str) -> None:
    async with _pool(url, max_size=2) as pool:
        await pool.warm(2)
        async with pool.connection() as connection:
            closing = asyncio.create_task(pool.close(timeout_s=20))
            await asyncio.sleep(0)
            with pytest.raises(StoreUnavailable):
                await _who(pool)
            answer = await connection.fetch_one("SELECT 1")
        await closing
        assert (1,) == answer
        assert connection.broken
        assert 0 == pool.size


async def test_close_turns_waiters_away_and_waits_no_longer_than_told(url: str) -> None:
    async with _pool(url) as pool, pool.connection() as connection:
        waiter = asyncio.create_task(_who(pool))
        await _until_waiting(pool, 1)
        await pool.close(timeout_s=0.05)
        with pytest.raises(StoreUnavailable, match="closing"):
            await waiter
        assert connection.broken


@pytest.mark.usefixtures("url")
async def test_a_dial_that_finds_nobody_says_so_until_another_finds_somebody(
    server_socket: Path,
) -> None:
    async with (
        FaultProxy(server_socket) as proxy,
        _pool(_through(proxy)) as one,
        _pool(_through(proxy)) as other,
    ):
        assert not are_cut_off((one, other))
        await proxy.refuse()
        with pytest.raises(StoreUnavailable):
            await _who(one)
        assert are_cut_off((one, other))
        await proxy.heal()
        # Both lead to the same database, and nobody may borrow from the first for hours.
        await _who(other)
        assert not are_cut_off((one, other))


@pytest.mark.usefixtures("url")
async def test_a_dial_that_is_given_up_has_found_nobody(server_socket: Path) -> None:
    async with FaultProxy(server_socket) as proxy, _pool(_through(proxy)) as pool:
        proxy.blackhole()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await _who(pool)
        assert are_cut_off((pool,))


async def test_sessions_that_live_on_outlast_a_dial_that_found_nobody(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _pool(url, max_size=2) as pool:
        async with pool.connection() as connection:
            monkeypatch.setattr(pool, "_dsn", "postgresql://127.0.0.1:1/nobody")
            with pytest.raises(StoreUnavailable):
                await _who(pool)
            await connection.execute("SELECT 1")
        # A server that is full may refuse the next one too.
        assert are_cut_off((pool,))
        monkeypatch.setattr("fluxpay.stores.pool._REFUSAL_COUNTS_S", 0)
        await _who(pool)
        assert not are_cut_off((pool,))
