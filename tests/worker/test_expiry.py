"""Authorizations expire when they are due, once, whoever else is at work."""

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg2
from uuid_utils import uuid7

from fluxpay.core.effects import ChangePayment
from fluxpay.core.idempotency import Claim, fingerprint
from fluxpay.core.payment_changes import Changed, Command
from fluxpay.core.payments import Action, CaptureMode, Payment
from fluxpay.stores.connection import SessionLimits
from fluxpay.stores.database import Database as Service
from fluxpay.stores.payment_changes import PaymentChanges
from fluxpay.stores.pool import Pool
from fluxpay.worker.jobs import Expiry, Round
from tests.conftest import Database, Lines
from tests.worker.books import count, pay, rows, statuses

MADE_AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
DUE_AT = MADE_AT + timedelta(days=7)
MOMENT = timedelta(milliseconds=1)


async def authorize(pool: Pool, number: int = 1) -> list[Payment]:
    return await pay(pool, count=number, tenants=3, capture=CaptureMode.MANUAL, now=MADE_AT)


def expiry(pool: Pool, *, at: datetime = DUE_AT, at_most: int = 100) -> Expiry:
    return Expiry(PaymentChanges(pool), now=lambda: at, at_most=at_most)


async def capture(pool: Pool, payment: Payment, amount_minor: int | None = None) -> None:
    claim = Claim(payment.tenant_id, "capture", fingerprint("POST", "/capture", b""))
    command = Command(Action.CAPTURE, amount_minor)
    outcome = await PaymentChanges(pool).change(
        ChangePayment(payment.id, command, claim, uuid7().int, DUE_AT - MOMENT)
    )
    assert isinstance(outcome, Changed)


async def test_an_authorization_expires_when_it_is_due_and_no_moment_before(
    pool: Pool, database: Database
) -> None:
    await authorize(pool)
    assert Round(0, has_more=False) == await expiry(pool, at=DUE_AT - MOMENT).run()
    assert {"authorized": 1} == statuses(database)
    assert Round(1, has_more=False) == await expiry(pool).run()
    assert {"expired": 1} == statuses(database)
    assert [("authorization", 1250), ("release", 1250)] == rows(
        database, "SELECT kind, amount FROM ledger_transfers ORDER BY kind"
    )
    assert Round(0, has_more=False) == await expiry(pool).run()


async def test_a_payment_that_was_captured_a_moment_ago_stays_captured(
    pool: Pool, database: Database
) -> None:
    (payment,) = await authorize(pool)
    changes = PaymentChanges(pool)
    (due,) = await changes.due(now=DUE_AT, at_most=10)
    await capture(pool, payment)
    assert not await changes.expire(*due, uuid=uuid7().int, now=DUE_AT)
    assert {"captured": 1} == statuses(database)


async def test_what_was_captured_of_an_authorization_stays_and_the_rest_is_released(
    pool: Pool, database: Database
) -> None:
    (payment,) = await authorize(pool)
    await capture(pool, payment, 1000)
    assert Round(1, has_more=False) == await expiry(pool).run()
    assert [("captured", 1000, None)] == rows(
        database, "SELECT status, amount_captured, expires_at FROM payments"
    )
    assert [(1000,), (250,)] == rows(
        database, "SELECT amount FROM ledger_transfers WHERE kind = 'release' ORDER BY id"
    )


async def test_a_full_round_says_that_more_is_waiting(pool: Pool, database: Database) -> None:
    await authorize(pool, 5)
    job = expiry(pool, at_most=2)
    rounds = [await job.run() for _ in range(4)]
    assert [(2, True), (2, True), (1, False), (0, False)] == [
        (one.done, one.has_more) for one in rounds
    ]
    assert {"expired": 5} == statuses(database)


async def test_two_workers_at_once_expire_each_payment_once(
    pool: Pool, other_pool: Pool, database: Database
) -> None:
    await authorize(pool, 40)
    rounds = await asyncio.gather(
        *(expiry(one).run() for one in (pool, other_pool, pool, other_pool))
    )
    assert 40 == sum(one.done for one in rounds)
    assert {"expired": 40} == statuses(database)
    releases = "SELECT count(*) FROM ledger_transfers WHERE kind = 'release'"
    events = "SELECT count(*) FROM events WHERE type = 'payment.expired'"
    assert [(40,), (40,)] == rows(database, releases) + rows(database, events)


async def test_a_payment_that_somebody_holds_is_left_for_the_next_round(
    pool: Pool, database: Database
) -> None:
    held, *_ = await authorize(pool, 4)
    hasty = Service(database.app_url, limits=SessionLimits(lock_timeout_s=0.2)).pool(max_size=2)
    with psycopg2.connect(database.owner_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM payments WHERE id = %s FOR UPDATE", (held.id,))
        assert Round(3, has_more=False) == await expiry(hasty).run()
    connection.close()
    assert Round(1, has_more=False) == await expiry(hasty).run()
    await hasty.close()


async def test_payments_with_broken_books_are_named_once_and_hold_up_nobody(
    pool: Pool, database: Database, lines: Lines
) -> None:
    broken = [payment.id for payment in await authorize(pool, 2)]
    # Due before all others, and as many as a round takes.
    rows(
        database,
        "UPDATE payments SET amount_captured = 1, status = 'partially_captured',"
        " expires_at = expires_at - interval '1 day'",
    )
    await authorize(pool, 3)
    job = expiry(pool, at_most=2)
    rounds = [await job.run() for _ in range(4)]
    assert [0, 2, 1, 0] == [one.done for one in rounds]
    assert {"expired": 3, "partially_captured": 2} == statuses(database)
    told = [one for one in lines() if one["event"] == "payment_cannot_expire"]
    assert sorted(broken) == sorted(one["payment_id"] for one in told)
    assert all(one["reason"] for one in told)

    rows(database, "UPDATE payments SET amount_captured = 0 WHERE status = 'partially_captured'")
    rows(database, "UPDATE payments SET status = 'authorized' WHERE status = 'partially_captured'")
    assert 2 == (await job.run()).done
    assert 5 == count(database, "payments WHERE status = 'expired'")
