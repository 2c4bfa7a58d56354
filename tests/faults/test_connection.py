"""What a session does when statements time out, replies are lost, and tasks are cancelled."""

import asyncio
import gc
import os
import resource
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import errors

from fluxpay.stores.connection import Connection, SessionLimits, connect
from fluxpay.stores.problems import (
    CommitRefused,
    OutcomeUnknown,
    SchemaBehind,
    SerializationLost,
    StatementTimedOut,
    StoreError,
    StoreUnavailable,
)
from tests.conftest import Database
from tests.faults.proxy import FaultProxy

LIMITS = SessionLimits()
DESCRIPTORS = 1100


async def _connect(url: str, limits: SessionLimits = LIMITS) -> Connection:
    return await connect(url, limits=limits, connect_timeout_s=10)


def _open_descriptors() -> int:
    gc.collect()  # what earlier tests have dropped must not go in the middle of this one
    return sum(1 for _ in Path("/dev/fd").iterdir())


def _through(proxy: FaultProxy) -> str:
    return f"postgresql://fluxpay_owner@{proxy.host}:{proxy.port}/faults?sslmode=disable"


@pytest.fixture
def high_descriptors() -> Iterator[None]:
    """Whatever opens next gets a descriptor above 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * DESCRIPTORS), hard))
    with ExitStack() as held:
        while (number := os.open(os.devnull, os.O_RDONLY)) < DESCRIPTORS:
            held.callback(os.close, number)
        held.callback(os.close, number)
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ---- statements and their limits ---------------------------------------------------------------


async def test_several_statements_in_one_string_answer_with_the_rows_of_the_last(url: str) -> None:
    connection = await _connect(url)
    rows = await connection.fetch_all(
        "SELECT set_config('fluxpay.tenant', %s, true);"
        " SELECT current_setting('fluxpay.tenant'), n FROM generate_series(1, 2) n",
        ("ten_1",),
    )
    tag = await connection.execute("INSERT INTO notes VALUES (1, 'a'), (2, 'b')")
    missing = await connection.fetch_one("SELECT body FROM notes WHERE id = %(id)s", {"id": 3})
    connection.close()
    assert [("ten_1", 1), ("ten_1", 2)] == rows
    assert "INSERT 0 2" == tag
    assert missing is None


async def test_a_statement_timeout_is_an_error_and_no_cancellation(url: str) -> None:
    connection = await _connect(url, SessionLimits(statement_timeout_s=0.1))
    with pytest.raises(StatementTimedOut) as caught:
        await connection.execute("SELECT pg_sleep(20)")
    answer = await connection.fetch_one("SELECT 1")
    connection.close()
    assert "57014" == caught.value.sqlstate
    assert (1,) == answer


async def test_a_cancelled_task_stays_cancelled_and_gives_up_its_session(url: str) -> None:
    connection = await _connect(url)
    task = asyncio.create_task(connection.execute("SELECT pg_sleep(20)"))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert connection.broken
    with pytest.raises(StoreUnavailable):
        await connection.execute("SELECT 1")


async def test_a_server_that_falls_silent_is_given_up_a_grace_after_its_own_limit(
    url: str, server_socket: Path
) -> None:
    limits = SessionLimits(statement_timeout_s=0.1, reply_grace_s=0.1)
    async with asyncio.timeout(30), FaultProxy(server_socket) as proxy:
        assert url
        connection = await _connect(_through(proxy), limits)
        proxy.blackhole()
        with pytest.raises(OutcomeUnknown):
            await connection.execute("SELECT 1")
        assert connection.broken


@pytest.mark.usefixtures("high_descriptors")
async def test_an_sql_error_arrives_on_a_descriptor_above_1024(url: str) -> None:
    connection = await _connect(url)
    async with asyncio.timeout(10):
        with pytest.raises(errors.DivisionByZero):
            await connection.fetch_one("SELECT 1 / 0")
        answer = await connection.fetch_one("SELECT 1")
    reusable = connection.reusable
    connection.close()
    assert (1,) == answer
    assert reusable


async def test_a_session_starts_with_its_limits(url: str) -> None:
    connection = await _connect(url, SessionLimits(3, 2, 7, 0.5))
    rows = await connection.fetch_all(
        "SELECT name, setting FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout',"
        " 'idle_in_transaction_session_timeout', 'client_connection_check_interval',"
        " 'application_name')"
    )
    connection.close()
    assert {
        "statement_timeout": "3000",
        "lock_timeout": "2000",
        "idle_in_transaction_session_timeout": "7000",
        "client_connection_check_interval": "500",
        "application_name": "fluxpay",
    } == dict(rows)


async def test_who_waited_sees_what_was_committed_whatever_the_database_starts_sessions_with(
    database: Database,
) -> None:
    with closing(psycopg2.connect(database.owner_url)) as owner, owner, owner.cursor() as cursor:
        cursor.execute(
            f"ALTER DATABASE {database.name} SET default_transaction_isolation = 'serializable'"
        )
    shown = list[object]()
    # The options of a URL come last and win, except over a transaction.
    for url in (
        database.app_url,
        f"{database.app_url}&options=-c%20default_transaction_isolation%3Dserializable",
    ):
        connection = await _connect(url)
        shown.append(await connection.fetch_one("SHOW transaction_isolation"))
        for tenant in (None, "ten_1"):
            async with connection.transaction(tenant=tenant):
                shown.append(await connection.fetch_one("SHOW transaction_isolation"))
        connection.close()
    committed = ("read committed",)
    assert [committed, committed, committed, ("serializable",), committed, committed] == shown


async def test_what_is_answered_is_on_disk_whatever_the_database_starts_sessions_with(
    database: Database,
) -> None:
    with closing(psycopg2.connect(database.owner_url)) as owner, owner, owner.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {database.name} SET synchronous_commit = 'off'")
    with closing(await _connect(database.app_url)) as connection:
        assert ("on",) == await connection.fetch_one("SHOW synchronous_commit")


async def test_a_server_that_cannot_watch_its_client_is_used_all_the_same(url: str) -> None:
    # No interval is this long: the server refuses the setting by name, as one without it does.
    connection = await _connect(url, SessionLimits(client_check_interval_s=1e9))
    answer = await connection.fetch_one("SHOW statement_timeout")
    connection.close()
    assert ("10s",) == answer


# ---- transactions ------------------------------------------------------------------------------


async def test_a_block_that_ends_well_is_committed_under_its_tenant(url: str) -> None:
    connection = await _connect(url)
    async with connection.transaction(tenant="ten_1"):
        await connection.execute("INSERT INTO notes VALUES (1, current_setting('fluxpay.tenant'))")
    body = await connection.fetch_one("SELECT body FROM notes")
    after = await connection.fetch_one("SELECT current_setting('fluxpay.tenant', true)")
    connection.close()
    assert ("ten_1",) == body
    assert ("",) == after


async def test_a_block_that_raises_leaves_nothing_behind(url: str) -> None:
    connection = await _connect(url)

    async def write_and_fail() -> None:
        async with connection.transaction():
            await connection.execute("INSERT INTO notes VALUES (1, 'a')")
            raise LookupError

    with pytest.raises(LookupError):
        await write_and_fail()
    reusable = connection.reusable
    rows = await connection.fetch_all("SELECT * FROM notes")
    connection.close()
    assert reusable
    assert [] == rows


async def test_a_transaction_inside_another_is_refused(url: str) -> None:
    connection = await _connect(url)
    async with connection.transaction():
        with pytest.raises(RuntimeError):
            async with connection.transaction():
                pass
    connection.close()


async def test_a_commit_that_is_answered_with_rollback_is_refused(url: str) -> None:
    connection = await _connect(url)
    await connection.execute("INSERT INTO notes VALUES (1, 'a')")

    async def swallow_an_error() -> None:
        async with connection.transaction():
            await connection.execute("INSERT INTO notes VALUES (2, 'b')")
            with pytest.raises(errors.UniqueViolation):
                await connection.execute("INSERT INTO notes VALUES (1, 'again')")

    with pytest.raises(CommitRefused):
        await swallow_an_error()
    rows = await connection.fetch_all("SELECT id FROM notes")
    connection.close()
    assert [(1,)] == rows


async def test_a_lost_commit_reply_is_an_unknown_outcome_that_can_be_read_back(
    url: str, server_socket: Path
) -> None:
    async with FaultProxy(server_socket) as proxy:
        connection = await _connect(_through(proxy))

        async def write() -> None:
            async with connection.transaction():
                await connection.execute("INSERT INTO notes VALUES (1, 'a')")
                proxy.cut_after_reply_bytes(0)

        with pytest.raises(OutcomeUnknown):
            await write()
    fresh = await _connect(url)
    rows = await fresh.fetch_all("SELECT id FROM notes")
    fresh.close()
    assert connection.broken
    assert [(1,)] == rows


async def test_a_lost_reply_outside_a_transaction_is_an_unknown_outcome(
    url: str, server_socket: Path
) -> None:
    async with FaultProxy(server_socket) as proxy:
        connection = await _connect(_through(proxy))
        proxy.cut_after_reply_bytes(0)
        with pytest.raises(OutcomeUnknown):
            await connection.execute("INSERT INTO notes VALUES (1, 'a')")
    fresh = await _connect(url)
    rows = await fresh.fetch_all("SELECT id FROM notes")
    fresh.close()
    assert [(1,)] == rows


async def test_a_connection_lost_before_commit_is_known_to_have_written_nothing(
    url: str, server_socket: Path
) -> None:
    async with FaultProxy(server_socket) as proxy:
        connection = await _connect(_through(proxy))

        async def write() -> None:
            async with connection.transaction():
                proxy.cut_after_reply_bytes(0)
                await connection.execute("INSERT INTO notes VALUES (1, 'a')")

        with pytest.raises(StoreUnavailable) as caught:
            await write()
    fresh = await _connect(url)
    rows = await fresh.fetch_all("SELECT id FROM notes")
    fresh.close()
    assert StoreUnavailable is type(caught.value)
    assert [] == rows


async def test_the_server_lets_go_of_the_locks_of_a_cancelled_task(url: str) -> None:
    held, wanted = await _connect(url), await _connect(url)
    await wanted.execute("INSERT INTO notes VALUES (1, 'a')")

    async def hold() -> None:
        async with held.transaction():
            await held.execute("UPDATE notes SET body = 'b'; SELECT pg_sleep(9)")

    task = asyncio.create_task(hold())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # Our lock_timeout is shorter than the sleep: this passes only if the backend noticed.
    tag = await wanted.execute("UPDATE notes SET body = 'c'")
    wanted.close()
    assert "UPDATE 1" == tag


# ---- which error means what --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        ("08006", StoreUnavailable),
        ("25006", StoreUnavailable),
        ("53100", StoreUnavailable),
        ("57P01", StoreUnavailable),
        ("57P03", StoreUnavailable),
        ("57014", StatementTimedOut),
        ("55P03", StatementTimedOut),
        ("40001", SerializationLost),
        ("40P01", SerializationLost),
        ("42P01", SchemaBehind),
        ("42883", SchemaBehind),
        ("23505", errors.UniqueViolation),
        ("22012", errors.DivisionByZero),
        ("42501", errors.InsufficientPrivilege),
    ],
)
async def test_an_sqlstate_has_its_kind(
    url: str, sqlstate: str, kind: type[StoreError] | type[psycopg2.Error]
) -> None:
    connection = await _connect(url)
    with pytest.raises(kind) as caught:
        await connection.execute(
            f"DO $$ BEGIN RAISE EXCEPTION 'planted' USING ERRCODE = '{sqlstate}'; END $$"
        )
    connection.close()
    assert kind is type(caught.value)


async def test_a_session_with_a_replaced_primary_is_given_up(url: str) -> None:
    connection = await _connect(url)
    await connection.execute("SET default_transaction_read_only = on")
    with pytest.raises(StoreUnavailable):
        await connection.execute("INSERT INTO notes VALUES (1, 'a')")
    assert connection.broken


async def test_a_connection_the_server_ends_is_broken_before_anyone_asks(url: str) -> None:
    killer = await _connect(url)
    descriptors = _open_descriptors()
    victim = await _connect(url)
    row = await victim.fetch_one("SELECT pg_backend_pid()")
    assert row is not None
    await killer.execute("SELECT pg_terminate_backend(%s, 5000)", row)
    reusable_at_once = victim.reusable
    async with asyncio.timeout(5):
        while not victim.broken:
            await asyncio.sleep(0.01)
    # Nothing of it stays open, and so nothing of it stays registered with the loop.
    assert descriptors == _open_descriptors()
    killer.close()
    assert not reusable_at_once
