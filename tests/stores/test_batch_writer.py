"""Atomic batches on a real Postgres: all of a batch or nothing of it, whoever else is posting."""

import asyncio
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from fluxpay.core.batches import Aborted, Outcome
from fluxpay.core.effects import PostBatch
from fluxpay.core.idempotency import Expired, Mismatched, Posted, Replayed
from fluxpay.core.payment_creation import Posting
from fluxpay.stores.batch_writer import BatchWriter
from fluxpay.stores.pool import Pool
from fluxpay.stores.problems import OutcomeUnknown, SerializationLost
from fluxpay.stores.writer import PaymentWriter
from tests.conftest import Database
from tests.stores.postings import posting, tenant_id
from tests.stores.watching import Sizes

TABLES = ("payments", "ledger_transfers", "idempotency_records", "events")


def batch_writer(pool: Pool, sizes: Sizes | None = None) -> BatchWriter:
    return BatchWriter(pool, watch=Sizes() if sizes is None else sizes)


async def post(pool: Pool, *postings: Posting) -> tuple[Outcome, ...]:
    return await batch_writer(pool).post(PostBatch(postings))


def counts(database: Database) -> dict[str, int]:
    with closing(psycopg2.connect(database.owner_url)) as connection, connection.cursor() as cursor:
        found = {}
        for table in TABLES:
            cursor.execute(f"SELECT count(*) FROM {table}")
            found[table] = cursor.fetchall()[0][0]
        return found


def purge(database: Database) -> None:
    with closing(psycopg2.connect(database.owner_url)) as connection, connection:
        connection.cursor().execute("DELETE FROM idempotency_records")


async def test_a_batch_of_500_is_committed_by_one_statement(pool: Pool, database: Database) -> None:
    sizes = Sizes()
    tenant = tenant_id()
    batch = tuple(posting(tenant, f"k-{n}") for n in range(500))
    assert (Posted(),) * 500 == await batch_writer(pool, sizes).post(PostBatch(batch))
    assert [500] == sizes
    assert dict.fromkeys(TABLES, 500) == counts(database)


async def test_one_mismatch_undoes_the_whole_batch_and_every_outcome_is_told(
    pool: Pool, database: Database
) -> None:
    tenant = tenant_id()
    old, used = posting(tenant, "old"), posting(tenant, "used")
    assert (Posted(), Posted()) == await post(pool, old, used)
    batch = (
        posting(tenant, "new"),
        posting(tenant, "old"),
        posting(tenant, "used", amount_minor=999),
        posting(tenant, "newer"),
    )
    expected = (Aborted(), Replayed(old.reply), Mismatched(), Aborted())
    assert expected == await post(pool, *batch)
    assert dict.fromkeys(TABLES, 2) == counts(database)


async def test_a_key_whose_record_was_purged_undoes_the_batch(
    pool: Pool, database: Database
) -> None:
    tenant = tenant_id()
    old = posting(tenant, "k")
    await post(pool, old)
    purge(database)
    answers = await post(pool, posting(tenant, "k"), posting(tenant, "fresh"))
    assert (Expired(old.payment.id), Aborted()) == answers
    assert {"payments": 1, "ledger_transfers": 1, "idempotency_records": 0, "events": 1} == counts(
        database
    )


async def test_a_batch_with_replays_commits_the_rest(pool: Pool, database: Database) -> None:
    tenant = tenant_id()
    old = posting(tenant, "old")
    await post(pool, old)
    again = await post(pool, posting(tenant, "new"), posting(tenant, "old"))
    assert (Posted(), Replayed(old.reply)) == again
    assert dict.fromkeys(TABLES, 2) == counts(database)


async def test_an_aborted_batch_can_be_sent_again_when_its_fault_is_gone(
    pool: Pool, database: Database
) -> None:
    tenant = tenant_id()
    await post(pool, posting(tenant, "used"))
    good = posting(tenant, "good")
    fault = posting(tenant, "used", amount_minor=999)
    assert (Aborted(), Mismatched()) == await post(pool, good, fault)
    assert (Posted(),) == await post(pool, good)
    assert dict.fromkeys(TABLES, 2) == counts(database)


async def test_a_payment_that_breaks_a_constraint_undoes_the_batch(
    pool: Pool, database: Database
) -> None:
    tenant = tenant_id()
    bad = posting(tenant, "bad")
    # The core never says this; Postgres must refuse it all the same.
    object.__setattr__(bad.payment, "amount_refunded_minor", 10**9)
    with pytest.raises(psycopg2.IntegrityError):
        await post(pool, posting(tenant, "good"), bad)
    assert dict.fromkeys(TABLES, 0) == counts(database)


@pytest.mark.parametrize("committed", [True, False])
async def test_a_batch_whose_reply_was_lost_is_sent_again_and_made_once(
    pool: Pool, database: Database, monkeypatch: pytest.MonkeyPatch, *, committed: bool
) -> None:
    writer = batch_writer(pool)
    send, lost = writer._send, 0

    async def losing(*arguments: Any) -> tuple[Outcome, ...]:
        nonlocal lost
        lost += 1
        if lost > 2:
            return await send(*arguments)
        if committed:
            await send(*arguments)
            raise OutcomeUnknown("the reply was lost")
        raise SerializationLost("somebody else won")

    monkeypatch.setattr(writer, "_send", losing)
    tenant = tenant_id()
    batch = PostBatch((posting(tenant, "a"), posting(tenant, "b")))
    assert (Posted(), Posted()) == await writer.post(batch)
    assert dict.fromkeys(TABLES, 2) == counts(database)


async def test_racing_batches_and_single_payments_with_the_same_keys_never_split_a_batch(
    pool: Pool, database: Database
) -> None:
    tenant = tenant_id()
    sizes = Sizes()
    single = PaymentWriter(pool, batch_max=16, writers_max=2, watch=sizes)
    writers = [batch_writer(pool) for _ in range(4)]
    for round_ in range(10):
        keys = [f"{round_}-{n:02}" for n in range(20)]
        orders = (keys, keys[::-1], keys[10:] + keys[:10], keys[::2] + keys[1::2])
        batches = [tuple(posting(tenant, key) for key in order) for order in orders]
        # A single payment of another amount takes one of the keys, or comes too late for it.
        spoiler = posting(tenant, keys[7], amount_minor=999)
        racing = asyncio.ensure_future(single.post(spoiler))
        answers = await asyncio.gather(
            *(writer.post(PostBatch(batch)) for writer, batch in zip(writers, batches, strict=True))
        )
        spoilt = await racing
        kinds = sorted("+".join(sorted({type(one).__name__ for one in told})) for told in answers)
        if isinstance(spoilt, Posted):
            assert ["Aborted+Mismatched"] * 4 == kinds
        else:
            assert Mismatched() == spoilt
            assert ["Posted", *["Replayed"] * 3] == kinds
    made = counts(database)
    assert 1 == len(set(made.values()))
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    with closing(psycopg2.connect(database.owner_url)) as connection, connection.cursor() as cursor:
        cursor.execute(deadlocks)
        assert [(0,)] == cursor.fetchall()
