"""Group commit on a real Postgres: each payment its own answer, and never half a payment."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import psycopg2
import pytest

from fluxpay.core.effects import FindPayment
from fluxpay.core.idempotency import Expired, Mismatched, Posted, Replayed
from fluxpay.core.payment_creation import Posting
from fluxpay.stores.connection import SessionLimits
from fluxpay.stores.database import Database as Service
from fluxpay.stores.payments import Payments
from fluxpay.stores.pool import Pool
from fluxpay.stores.problems import OutcomeUnknown, SerializationLost, StoreError
from fluxpay.stores.writer import PaymentWriter
from tests.conftest import Database
from tests.stores.postings import posting, tenant_id
from tests.stores.watching import Sizes

TABLES = ("payments", "ledger_transfers", "idempotency_records", "events")


def writer_on(
    pool: Pool,
    sizes: Sizes | None = None,
    *,
    batch_max: int = 32,
    writers_max: int = 1,
) -> PaymentWriter:
    watch = Sizes() if sizes is None else sizes
    return PaymentWriter(pool, batch_max=batch_max, writers_max=writers_max, watch=watch)


def rows(database: Database, sql: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(database.owner_url)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def counts(database: Database) -> dict[str, int]:
    return {table: rows(database, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


async def test_a_payment_commits_with_its_transfer_record_and_event(
    pool: Pool, database: Database
) -> None:
    tenant = tenant_id()
    one = posting(tenant, "k-1")
    assert Posted() == await writer_on(pool).post(one)
    assert dict.fromkeys(TABLES, 1) == counts(database)
    found = await Payments(pool).find(FindPayment(tenant, one.payment.id))
    assert one.payment == found
    assert [
        ("credit", 1250, one.transfer.credit.id, "merchant"),
        ("debit", 1250, one.transfer.debit.id, "platform"),
    ] == rows(
        database,
        """
        SELECT direction, amount, account_id, a.kind
        FROM ledger_entries e JOIN accounts a ON a.id = e.account_id ORDER BY direction
        """,
    )


async def test_what_queues_during_a_commit_goes_in_one_batch(
    pool: Pool, database: Database
) -> None:
    sizes = Sizes()
    writer = writer_on(pool, sizes, batch_max=16)
    tenants = [tenant_id() for _ in range(3)]
    first = asyncio.ensure_future(writer.post(posting(tenants[0], "first")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    answers = await asyncio.gather(
        first, *(writer.post(posting(tenants[n % 3], f"k-{n}")) for n in range(20))
    )
    assert [Posted()] * 21 == answers
    assert [1, 16, 4] == sizes
    assert dict.fromkeys(TABLES, 21) == counts(database)


async def test_the_payments_of_one_loop_turn_share_a_batch(pool: Pool) -> None:
    sizes = Sizes()
    writer = writer_on(pool, sizes)
    await asyncio.gather(*(writer.post(posting(tenant_id(), "k")) for _ in range(7)))
    assert [7] == sizes


async def test_one_batch_answers_posted_replayed_and_mismatched_item_by_item(
    pool: Pool, database: Database
) -> None:
    tenant, writer = tenant_id(), writer_on(pool)
    first, other = posting(tenant, "old"), posting(tenant, "used")
    await asyncio.gather(writer.post(first), writer.post(other))
    again = posting(tenant, "old")
    assert first.payment.id != again.payment.id
    batch = [
        again,
        posting(tenant, "used", amount_minor=999),
        posting(tenant, "new"),
        posting(tenant_id(), "old"),
    ]
    answers = await asyncio.gather(*map(writer.post, batch))
    assert [Replayed(first.reply), Mismatched(), Posted(), Posted()] == answers
    assert dict.fromkeys(TABLES, 4) == counts(database)


async def test_twins_in_one_batch_make_one_payment(pool: Pool, database: Database) -> None:
    tenant, writer = tenant_id(), writer_on(pool)
    twins = [posting(tenant, "k") for _ in range(10)]
    answers = await asyncio.gather(*map(writer.post, twins))
    assert [Posted()] == [answer for answer in answers if isinstance(answer, Posted)]
    winner = twins[answers.index(Posted())]
    assert {Replayed(winner.reply)} == set(answers) - {Posted()}
    assert dict.fromkeys(TABLES, 1) == counts(database)


async def test_batches_with_the_same_keys_in_opposite_order_never_deadlock(
    database: Database,
) -> None:
    tenant = tenant_id()
    limits = SessionLimits()
    pools = [Service(database.app_url, limits=limits).pool(max_size=1) for _ in range(4)]
    writers = [writer_on(pool) for pool in pools]
    for round_ in range(10):
        keys = [f"{round_}-{n:02}" for n in range(30)]
        orders = (keys, keys[::-1], keys[15:] + keys[:15], keys[::2] + keys[1::2])
        answers = await asyncio.gather(
            *(
                writer.post(posting(tenant, key))
                for writer, order in zip(writers, orders, strict=True)
                for key in order
            )
        )
        assert 30 == answers.count(Posted())
    assert dict.fromkeys(TABLES, 300) == counts(database)
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert [(0,)] == rows(database, deadlocks)
    for pool in pools:
        await pool.close()


async def test_a_poisoned_item_fails_alone(pool: Pool, database: Database) -> None:
    sizes = Sizes()
    writer = writer_on(pool, sizes)
    good = [posting(tenant_id(), f"k-{n}") for n in range(5)]
    bad = posting(tenant_id(), "k-bad")
    # The core never says this; Postgres must refuse it all the same.
    object.__setattr__(bad.payment, "amount_refunded_minor", 10**9)
    answers = await asyncio.gather(
        *map(writer.post, [*good[:2], bad, *good[2:]]), return_exceptions=True
    )
    assert isinstance(answers.pop(2), psycopg2.IntegrityError)
    assert [Posted()] * 5 == answers
    assert [6, 1, 1, 1, 1, 1, 1] == sizes
    assert dict.fromkeys(TABLES, 5) == counts(database)


async def test_a_key_whose_record_was_purged_names_its_payment(
    pool: Pool, database: Database
) -> None:
    tenant, writer = tenant_id(), writer_on(pool)
    old = posting(tenant, "k")
    await writer.post(old)
    with closing(psycopg2.connect(database.owner_url)) as connection, connection:
        connection.cursor().execute("DELETE FROM idempotency_records")
    fresh = posting(tenant, "fresh")
    answers = await asyncio.gather(*map(writer.post, [posting(tenant, "k"), fresh]))
    assert [Expired(old.payment.id), Posted()] == answers
    assert [("fresh",)] == rows(database, "SELECT idempotency_key FROM idempotency_records")
    assert 2 == counts(database)["payments"]


class LosesReplies(PaymentWriter):
    """Commits, and then hears nothing of it: what a cut connection does to the client."""

    lost: int = 0

    async def _send(self, items: str, postings: Any) -> Any:
        answers = await super()._send(items, postings)
        if self.lost:
            self.lost -= 1
            raise OutcomeUnknown("the reply was lost")
        return answers


async def test_a_lost_reply_is_asked_for_again_and_is_not_a_replay(
    pool: Pool, database: Database
) -> None:
    writer = LosesReplies(pool, batch_max=32, writers_max=1)
    writer.lost = 2
    tenant = tenant_id()
    answers = await asyncio.gather(*(writer.post(posting(tenant, f"k-{n}")) for n in range(3)))
    assert [Posted()] * 3 == answers
    assert dict.fromkeys(TABLES, 3) == counts(database)


async def test_a_reply_that_stays_lost_is_an_error_of_the_store(pool: Pool) -> None:
    writer = LosesReplies(pool, batch_max=32, writers_max=1)
    writer.lost = 100
    with pytest.raises(OutcomeUnknown):
        await writer.post(posting(tenant_id(), "k"))


class LosesRaces(PaymentWriter):
    """Finds its first statements chosen as the victim."""

    lost: int = 0

    async def _send(self, items: str, postings: Any) -> Any:
        if self.lost:
            self.lost -= 1
            raise SerializationLost("deadlock detected")
        return await super()._send(items, postings)


@pytest.mark.parametrize(("lost", "outcome"), [(3, Posted()), (4, SerializationLost)])
async def test_a_lost_race_is_run_again_three_times_at_most(
    pool: Pool, lost: int, outcome: object
) -> None:
    writer = LosesRaces(pool, batch_max=32, writers_max=1)
    writer.lost = lost
    (answer,) = await asyncio.gather(writer.post(posting(tenant_id(), "k")), return_exceptions=True)
    assert outcome == (type(answer) if isinstance(answer, StoreError) else answer)


async def test_closing_commits_what_is_queued(pool: Pool, database: Database) -> None:
    writer = writer_on(pool, batch_max=2)
    waiting = [asyncio.ensure_future(writer.post(posting(tenant_id(), "k"))) for _ in range(9)]
    await asyncio.sleep(0)
    await writer.close()
    assert [Posted()] * 9 == await asyncio.gather(*waiting)
    assert 9 == counts(database)["payments"]


async def test_a_cancelled_caller_takes_nobody_with_it(pool: Pool, database: Database) -> None:
    writer = writer_on(pool)
    waiting = [asyncio.ensure_future(writer.post(posting(tenant_id(), "k"))) for _ in range(4)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [Posted()] * 3 == [answers[n] for n in (0, 2, 3)]
    assert counts(database)["payments"] in (3, 4)
    await writer.close()


async def test_two_writers_commit_side_by_side(pool: Pool, database: Database) -> None:
    under_way = 0
    most = 0

    class Watched(PaymentWriter):
        async def _send(self, items: str, postings: Any) -> Any:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            try:
                return await super()._send(items, postings)
            finally:
                under_way -= 1

    writer = Watched(pool, batch_max=4, writers_max=2)
    await asyncio.gather(*(writer.post(posting(tenant_id(), "k")) for _ in range(40)))
    assert 2 == most
    assert 40 == counts(database)["payments"]


async def test_a_commit_runs_as_nobody_though_a_request_woke_it(pool: Pool) -> None:
    current = ContextVar("current", default="nobody")
    seen = []

    class Watched(Sizes):
        def queued(self, posting: Posting) -> None:
            super().queued(posting)
            seen.append(current.get())

        def begun(self, marks: Sequence[Any]) -> Callable[[Exception | None], None]:
            super().begun(marks)
            seen.append(current.get())
            return lambda error: seen.append(f"{current.get()}, {error}")

    writer = writer_on(pool, Watched())
    current.set("a request")
    await writer.post(posting(tenant_id(), "k"))
    assert ["a request", "nobody", "nobody, None"] == seen


async def test_a_payment_that_queues_as_a_writer_ends_is_not_forgotten(pool: Pool) -> None:
    writer = writer_on(pool)
    for n in range(20):
        # The next post comes in the very loop turn in which the writer finds its queue empty.
        assert Posted() == await writer.post(posting(tenant_id(), f"k-{n}"))


async def test_a_replay_survives_hostile_text_byte_for_byte(pool: Pool) -> None:
    tenant, writer = tenant_id(), writer_on(pool)
    one = posting(tenant, "k", reference="€ ' \" \\ \u2028 \U0001f4b6 %s $1 ); --")
    await writer.post(one)
    again = replace(posting(tenant, "k"), claim=one.claim)
    assert Replayed(one.reply) == await writer.post(again)
