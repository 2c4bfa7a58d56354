"""Changing payments on a real Postgres: once for each claim, never beyond the limit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest
import uuid_utils
from psycopg2 import errors

from fluxpay.core.effects import ChangePayment, FindPayment, ListRefunds
from fluxpay.core.idempotency import Claim, Expired, Mismatched, Replayed, fingerprint
from fluxpay.core.ids import IdKind, encode
from fluxpay.core.payment_changes import Changed, Command
from fluxpay.core.payments import Action, CaptureMode, Payment
from fluxpay.core.problems import Code, Refused
from fluxpay.stores.connection import SessionLimits
from fluxpay.stores.database import Database as Service
from fluxpay.stores.payment_changes import Outcome, PaymentChanges
from fluxpay.stores.payments import Payments
from fluxpay.stores.pool import Pool
from fluxpay.stores.problems import OutcomeUnknown, SerializationLost
from fluxpay.stores.writer import PaymentWriter
from tests.conftest import Database
from tests.stores.postings import posting, tenant_id

TABLES = ("ledger_transfers", "refunds", "idempotency_records", "events")
REFUND = Command(Action.REFUND, 100)


@pytest.fixture
async def payment(pool: Pool) -> Payment:
    """A payment of 1250 that was captured at once."""
    return await captured(pool, tenant_id(), "made")


@pytest.fixture
async def other_pool(database: Database) -> AsyncIterator[Pool]:
    """The sessions of another process."""
    pool = Service(database.app_url, limits=SessionLimits()).pool(max_size=8)
    yield pool
    await pool.close()


async def captured(pool: Pool, tenant: str, key: str) -> Payment:
    return await paid(pool, tenant, key, CaptureMode.AUTOMATIC)


async def paid(pool: Pool, tenant: str, key: str, capture: CaptureMode) -> Payment:
    writer = PaymentWriter(pool, batch_max=1, writers_max=1)
    made = posting(tenant, key, capture=capture)
    await writer.post(made)
    return made.payment


def asking(payment: Payment, command: Command = REFUND, *, key: str = "k") -> ChangePayment:
    """What a request for this change asks the store; each call is another attempt of it."""
    path = f"/v1/payments/{payment.id}/{command.action}"
    claim = Claim(payment.tenant_id, key, fingerprint("POST", path, repr(command).encode()))
    now = datetime.now(UTC)
    return ChangePayment(payment.id, command, claim, uuid_utils.uuid7().int, now)


def rows(database: Database, sql: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(database.owner_url)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def counts(database: Database) -> dict[str, int]:
    return {table: rows(database, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


async def refunded_minor(pool: Pool, payment: Payment) -> int:
    found = await Payments(pool).find(FindPayment(payment.tenant_id, payment.id))
    assert found is not None
    return found.amount_refunded_minor


async def test_a_refund_commits_with_its_transfer_record_and_event(
    pool: Pool, database: Database, payment: Payment
) -> None:
    before = counts(database)
    outcome = await PaymentChanges(pool).change(asking(payment))
    assert isinstance(outcome, Changed)
    assert {table: count + 1 for table, count in before.items()} == counts(database)
    assert 100 == await refunded_minor(pool, payment)
    listed = await Payments(pool).refunds(ListRefunds(payment.tenant_id, payment.id))
    assert listed is not None
    assert [100] == [refund.money.amount_minor for refund in listed]
    reversed_ = rows(
        database,
        """
        SELECT r.kind, o.kind, r.amount, r.layer FROM ledger_transfers r
        JOIN ledger_transfers o ON o.id = r.reverses
        """,
    )
    assert [("refund", "capture", 100, "posted")] == reversed_


async def test_a_repeated_claim_is_replayed_and_another_under_its_key_is_not(
    pool: Pool, database: Database, payment: Payment
) -> None:
    changes = PaymentChanges(pool)
    first = await changes.change(asking(payment))
    assert isinstance(first, Changed)
    after = counts(database)
    assert Replayed(first.reply) == await changes.change(asking(payment))
    assert Mismatched() == await changes.change(asking(payment, Command(Action.REFUND, 101)))
    assert after == counts(database)


async def test_a_key_whose_record_was_purged_names_the_payment_it_made(
    pool: Pool, database: Database, payment: Payment
) -> None:
    with closing(psycopg2.connect(database.owner_url)) as owner, owner:
        owner.cursor().execute("DELETE FROM idempotency_records")
    outcome = await PaymentChanges(pool).change(asking(payment, key="made"))
    assert Expired(payment.id) == outcome
    assert 0 == await refunded_minor(pool, payment)


async def test_a_refused_change_writes_nothing_and_leaves_its_key_free(
    pool: Pool, database: Database, payment: Payment
) -> None:
    changes, before = PaymentChanges(pool), counts(database)
    refusals = [
        await changes.change(asking(payment, Command(Action.CAPTURE))),
        await changes.change(asking(payment, Command(Action.REFUND, 1251))),
    ]
    codes = [one.code for one in refusals if isinstance(one, Refused)]
    assert [Code.INVALID_TRANSITION, Code.AMOUNT_TOO_LARGE] == codes
    assert before == counts(database)
    assert isinstance(await changes.change(asking(payment)), Changed)


async def test_a_payment_of_nobody_or_of_another_tenant_is_none(
    pool: Pool, database: Database, payment: Payment
) -> None:
    changes, before = PaymentChanges(pool), counts(database)
    stranger = replace(payment, tenant_id=tenant_id())
    unknown = replace(payment, id=encode(IdKind.PAYMENT, 1))
    assert [None, None] == [await changes.change(asking(one)) for one in (stranger, unknown)]
    assert before == counts(database)
    assert 0 == await refunded_minor(pool, payment)


async def test_twins_on_two_processes_make_one_refund(
    pool: Pool, other_pool: Pool, database: Database, payment: Payment
) -> None:
    outcomes: list[Outcome] = await asyncio.gather(
        *(
            PaymentChanges(one).change(asking(payment))
            for _ in range(10)
            for one in (pool, other_pool)
        )
    )
    (made,) = [outcome for outcome in outcomes if isinstance(outcome, Changed)]
    assert 19 == outcomes.count(Replayed(made.reply))
    assert 1 == counts(database)["refunds"]
    assert 100 == await refunded_minor(pool, payment)


async def test_a_key_used_at_once_on_two_payments_makes_one_change(
    pool: Pool, other_pool: Pool, database: Database
) -> None:
    tenant = tenant_id()
    for round_ in range(10):
        payments = [await captured(pool, tenant, f"made-{round_}-{n}") for n in range(2)]
        outcomes: list[Outcome] = await asyncio.gather(
            *(
                PaymentChanges(process).change(asking(one, key=f"k-{round_}"))
                for process, one in zip((pool, other_pool), payments, strict=True)
            )
        )
        assert {Changed, Mismatched} == {type(outcome) for outcome in outcomes}
        assert [0, 100] == sorted([await refunded_minor(pool, one) for one in payments])
    assert 10 == counts(database)["refunds"]


async def test_refunds_of_two_processes_never_give_back_more_than_was_captured(
    pool: Pool, other_pool: Pool, database: Database, payment: Payment
) -> None:
    outcomes: list[Outcome] = await asyncio.gather(
        *(
            PaymentChanges(one).change(asking(payment, key=f"k-{n}-{one is pool}"))
            for n in range(16)
            for one in (pool, other_pool)
        )
    )
    refused = {one.code for one in outcomes if isinstance(one, Refused)}
    assert {Code.AMOUNT_TOO_LARGE} == refused
    assert 12 == sum(isinstance(one, Changed) for one in outcomes)
    assert 1200 == await refunded_minor(pool, payment)
    assert [(1200,)] == rows(database, "SELECT sum(amount)::int FROM refunds")


class LosesReplies(PaymentChanges):
    """Commits, and then hears nothing of it: what a cut connection does to the client."""

    lost: int = 0

    async def _change_once(self, effect: ChangePayment) -> Outcome:
        outcome = await super()._change_once(effect)
        if self.lost:
            self.lost -= 1
            raise OutcomeUnknown("the reply was lost")
        return outcome


@pytest.mark.parametrize("lost", [1, 3])
async def test_a_lost_reply_is_found_again_and_nothing_is_done_twice(
    pool: Pool, database: Database, payment: Payment, lost: int
) -> None:
    changes, before = LosesReplies(pool), counts(database)
    changes.lost = lost
    outcome = await changes.change(asking(payment))
    assert isinstance(outcome, Changed | Replayed)
    assert [(outcome.reply.body.decode(),)] == rows(
        database, "SELECT body FROM idempotency_records WHERE idempotency_key = 'k'"
    )
    assert {table: count + 1 for table, count in before.items()} == counts(database)
    assert 100 == await refunded_minor(pool, payment)


async def test_a_reply_that_stays_lost_is_an_error_and_the_retry_finds_it(
    pool: Pool, database: Database, payment: Payment
) -> None:
    changes = LosesReplies(pool)
    changes.lost = 4
    with pytest.raises(OutcomeUnknown):
        await changes.change(asking(payment))
    assert isinstance(await changes.change(asking(payment)), Replayed)
    assert 1 == counts(database)["refunds"]


class LosesRaces(PaymentChanges):
    """Finds its first transactions chosen as the victim."""

    lost: int = 0

    async def _change_once(self, effect: ChangePayment) -> Outcome:
        if self.lost:
            self.lost -= 1
            raise SerializationLost("deadlock detected")
        return await super()._change_once(effect)


async def test_a_lost_race_is_run_again_three_times_at_most(pool: Pool, payment: Payment) -> None:
    changes = LosesRaces(pool)
    changes.lost = 3
    assert isinstance(await changes.change(asking(payment)), Changed)
    changes.lost = 4
    with pytest.raises(SerializationLost):
        await changes.change(asking(payment, key="other"))


async def test_a_transaction_that_dies_before_its_commit_has_done_nothing(
    pool: Pool, database: Database, payment: Payment
) -> None:
    before, effect = counts(database), asking(payment)
    async with pool.connection() as connection:
        transaction = connection.transaction(tenant=payment.tenant_id)
        await transaction.__aenter__()
        await connection.fetch_one("SELECT id FROM lock_payment(%s)", (payment.id,))
        waiting = asyncio.create_task(PaymentChanges(pool).change(effect))
        # The lock holds it up for as long as the other transaction lives.
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert set() == done
        assert before == counts(database)
        connection.close()
    assert isinstance(await waiting, Changed)
    assert {table: count + 1 for table, count in before.items()} == counts(database)


async def test_only_what_is_due_expires_and_only_once(
    pool: Pool, other_pool: Pool, database: Database
) -> None:
    payment = await paid(pool, tenant_id(), "made", CaptureMode.MANUAL)
    await captured(pool, tenant_id(), "never due")
    assert payment.expires_at is not None
    changes, due = PaymentChanges(pool), payment.expires_at
    early = due - timedelta(milliseconds=1)
    assert [] == await changes.due(now=early, at_most=9)
    assert not await expired(changes, payment, early)
    assert [(payment.tenant_id, payment.id)] == await changes.due(now=due, at_most=9)
    workers = (changes, PaymentChanges(other_pool)) * 5
    done = await asyncio.gather(*(expired(worker, payment, due) for worker in workers))
    assert [True] == [one for one in done if one]
    assert [] == await changes.due(now=due, at_most=9)
    assert [("expired", None)] == rows(
        database, "SELECT status, expires_at FROM payments WHERE capture = 'manual'"
    )
    kinds = rows(database, "SELECT kind, amount FROM ledger_transfers WHERE layer = 'pending'")
    assert [("authorization", 1250), ("release", 1250)] == sorted(kinds)


async def test_what_was_captured_a_moment_ago_does_not_expire(pool: Pool) -> None:
    payment = await paid(pool, tenant_id(), "made", CaptureMode.MANUAL)
    changes = PaymentChanges(pool)
    assert isinstance(await changes.change(asking(payment, Command(Action.CAPTURE))), Changed)
    assert payment.expires_at is not None
    assert not await expired(changes, payment, payment.expires_at)


async def expired(changes: PaymentChanges, payment: Payment, now: datetime) -> bool:
    uuid = uuid_utils.uuid7().int
    return await changes.expire(payment.tenant_id, payment.id, uuid=uuid, now=now)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE payments SET amount_refunded = 0",
        "UPDATE payments SET status = 'captured'",
        "SELECT * FROM payments FOR UPDATE",
        "DELETE FROM payments",
        "INSERT INTO refunds DEFAULT VALUES",
        "UPDATE refunds SET amount = 1",
        "DELETE FROM refunds",
        "TRUNCATE refunds",
    ],
)
def test_the_service_changes_payments_and_refunds_through_the_function_only(
    database: Database, payment: Payment, statement: str
) -> None:
    with closing(psycopg2.connect(database.app_url)) as app, app.cursor() as cursor:
        cursor.execute("SELECT set_config('fluxpay.tenant', %s, true)", (payment.tenant_id,))
        with pytest.raises(errors.InsufficientPrivilege):
            cursor.execute(statement)


@pytest.mark.parametrize("is_owner", [True, False])
async def test_a_payment_is_locked_and_its_refunds_are_read_by_its_own_tenant_alone(
    pool: Pool, database: Database, payment: Payment, is_owner: bool
) -> None:
    await PaymentChanges(pool).change(asking(payment))
    tenant = payment.tenant_id if is_owner else tenant_id()
    expected = [(payment.id,)] if is_owner else []
    with closing(psycopg2.connect(database.app_url)) as app, app.cursor() as cursor:
        cursor.execute("SELECT set_config('fluxpay.tenant', %s, true)", (tenant,))
        cursor.execute("SELECT id FROM lock_payment(%s)", (payment.id,))
        assert expected == cursor.fetchall()
        cursor.execute("SELECT payment_id FROM refunds")
        assert expected == cursor.fetchall()


async def test_without_a_tenant_no_payment_is_locked_or_changed(
    pool: Pool, payment: Payment
) -> None:
    async with pool.connection() as connection:
        found = await connection.fetch_all("SELECT id FROM lock_payment(%s)", (payment.id,))
    assert [] == found
