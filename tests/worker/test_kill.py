"""A worker killed in the middle of sealing, over and over: nothing is lost, nothing is doubled."""

import asyncio

from fluxpay.stores.pool import Pool
from tests.conftest import Database
from tests.worker import processes
from tests.worker.books import assert_each_transfer_is_sealed_once, count, pay, rows, until

KILLS = 20
# Sealing takes long enough to be met in the middle: entries written, nothing committed.
SLOW = """
    CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_sleep(0.5);
            RETURN NULL;
        END
    $$;
    CREATE TRIGGER linger AFTER INSERT ON account_entries
        FOR EACH STATEMENT EXECUTE FUNCTION linger()
"""
SEALING = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event = 'PgSleep'
"""


async def test_a_worker_killed_while_it_seals_loses_and_doubles_nothing(
    pool: Pool, database: Database
) -> None:
    rows(database, SLOW)
    aborted = 0
    for number in range(KILLS):
        await pay(pool, count=5, tenants=2)
        before = count(database, "sealed_transfers")
        async with processes.working(database) as worker:
            await until(lambda: bool(rows(database, SEALING)))
            await processes.kill(worker)
            if number % 2:
                # The machine of the database dies too; else the backend ends what it began.
                rows(database, f"SELECT pg_terminate_backend(pid) FROM ({SEALING}) AS one")
        await until(lambda: not rows(database, SEALING))
        aborted += before == count(database, "sealed_transfers")
    assert aborted >= KILLS // 4

    rows(database, "DROP TRIGGER linger ON account_entries")
    async with processes.working(database) as worker:
        await until(lambda: 5 * KILLS == count(database, "sealed_transfers"))
        assert 0 == await processes.stop(worker)
    assert 5 * KILLS == count(database, "ledger_transfers")
    assert_each_transfer_is_sealed_once(database)


async def test_three_workers_of_which_one_is_killed_again_and_again_seal_everything_once(
    pool: Pool, database: Database
) -> None:
    async with processes.working(database), processes.working(database):
        paying = asyncio.create_task(pay(pool, count=400, tenants=5))
        for _ in range(3):
            await processes.kill(await processes.start(database))
        await paying
        await until(lambda: 400 == count(database, "sealed_transfers"))
    assert_each_transfer_is_sealed_once(database)
