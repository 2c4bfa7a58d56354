"""Sealing follows the ledger: every transfer once, in an order that nothing overtakes."""

import asyncio
from contextlib import closing

import psycopg2

from fluxpay.stores.measuring import Measuring
from fluxpay.stores.pool import Pool
from fluxpay.stores.sealing import Sealing
from fluxpay.worker.jobs import Round, seal
from tests.conftest import Database
from tests.e2e.ledgers import tamper
from tests.worker.books import assert_each_transfer_is_sealed_once, count, pay

# A transfer like the one that is there, under an id of its own.
COPY = """
    INSERT INTO ledger_transfers (
        tenant_id, id, kind, payment_id, debit_account_id, credit_account_id, amount, currency,
        created_at
    )
    SELECT tenant_id, id || 'late', kind, payment_id, debit_account_id, credit_account_id, amount,
           currency, created_at
    FROM ledger_transfers LIMIT 1
"""


async def test_a_round_seals_so_many_and_says_whether_more_is_waiting(
    pool: Pool, database: Database
) -> None:
    await pay(pool, count=5, tenants=2)
    sealing = Sealing(pool)
    rounds = [await seal(sealing, at_most=2) for _ in range(4)]
    assert [Round(2, True), Round(2, True), Round(1, False), Round(0, False)] == rounds
    assert_each_transfer_is_sealed_once(database)


async def test_two_workers_at_once_seal_each_transfer_once(
    pool: Pool, other_pool: Pool, database: Database
) -> None:
    async def sealed_by(sealing: Sealing) -> int:
        # Nothing to seal is also what a worker is told while the other one seals.
        return sum([await sealing.seal(3) for _ in range(40)])

    paying = asyncio.create_task(pay(pool, count=60, tenants=3))
    sums = await asyncio.gather(*(sealed_by(Sealing(one)) for one in (pool, other_pool)))
    await paying
    assert sum(sums) == count(database, "sealed_transfers")
    while await Sealing(pool).seal(1000):
        pass
    assert 60 == count(database, "sealed_transfers")
    assert_each_transfer_is_sealed_once(database)


async def test_a_second_worker_does_not_wait_for_the_one_that_seals(
    pool: Pool, other_pool: Pool, database: Database
) -> None:
    await pay(pool)
    async with pool.connection() as connection, connection.transaction():
        assert (1,) == await connection.fetch_one("SELECT seal_ledger(10)")
        assert 0 == await Sealing(other_pool).seal(10)
    assert_each_transfer_is_sealed_once(database)


async def test_sealing_waits_for_an_older_transaction_and_skips_none_of_its_rows(
    pool: Pool, database: Database
) -> None:
    await pay(pool)
    assert 1 == await Sealing(pool).seal(10)
    with closing(psycopg2.connect(database.owner_url)) as older, older.cursor() as cursor:
        # It has its number, and writes only when younger ones have long been committed.
        cursor.execute("SELECT pg_current_xact_id()")
        await pay(pool, count=3)
        assert 0 == await Sealing(pool).seal(10)
        cursor.execute(COPY)
        assert 0 == await Sealing(pool).seal(10)
        older.commit()
    assert 4 == await Sealing(pool).seal(10)
    assert_each_transfer_is_sealed_once(database)


async def test_what_an_older_transaction_rolled_back_is_not_waited_for(
    pool: Pool, database: Database
) -> None:
    await pay(pool)
    with closing(psycopg2.connect(database.owner_url)) as older, older.cursor() as cursor:
        cursor.execute(COPY)
        await pay(pool, count=2)
        assert 1 == await Sealing(pool).seal(10)
        older.rollback()
    assert 2 == await Sealing(pool).seal(10)
    assert_each_transfer_is_sealed_once(database)


async def test_what_a_dump_brought_along_unsealed_is_sealed_elsewhere_and_then_no_longer_late(
    pool: Pool, database: Database
) -> None:
    sealing, measuring = Sealing(pool), Measuring(pool)
    await pay(pool, count=3)
    assert 3 == await sealing.seal(10)
    await pay(pool, count=5)
    tamper(
        database.owner_url,
        # A dump keeps the numbers of its transactions, and meets a system whose own are smaller.
        "UPDATE ledger_transfers SET committed_in = committed_in + 1000000000",
        "UPDATE ledger_horizon SET sealed_below = sealed_below + 1000000000, system_identifier = 1",
    )
    await pay(pool, count=2)
    # What was brought along comes first, in rounds as any; then what was made here.
    assert [2, 2, 1, 2, 0] == [await sealing.seal(2) for _ in range(5)]
    assert_each_transfer_is_sealed_once(database)
    standing = await measuring.standing()
    assert (0, 0.0) == (standing.unsealed, standing.oldest_age_s)
    await pay(pool)
    assert 1 == (await measuring.standing()).unsealed
    assert 1 == await sealing.seal(10)
    assert_each_transfer_is_sealed_once(database)
