"""The contract of changing payments: under one lock, as the core's rule says, once a claim."""

from collections import Counter
from datetime import datetime, timedelta

from uuid_utils import uuid7

from fluxpay.core.effects import (
    ChangePayment,
    FindPayment,
    FindRecord,
    ListPaymentEntries,
    ListPayments,
    ListRefunds,
    PostPayment,
)
from fluxpay.core.idempotency import (
    Claim,
    Mismatched,
    Posted,
    Replayed,
    StoredReply,
    fingerprint,
)
from fluxpay.core.ids import IdKind, suffix
from fluxpay.core.ledger import Direction, Layer
from fluxpay.core.money import AMOUNT_MINOR_MAX, Money
from fluxpay.core.payment_changes import Changed, Command
from fluxpay.core.payments import (
    Action,
    CaptureMode,
    Payment,
    PaymentFilter,
    Refund,
    Status,
    document,
    encode,
    refund_document,
)
from fluxpay.core.problems import Code, Refused
from tests.contracts.law import World, law, new_id, new_tenant, now
from tests.contracts.posting import AUTHORIZED_FOR, EUROS, HARD_TEXT, posting_of

INSTANT = timedelta(milliseconds=1)
VOID, EXPIRE = Command(Action.VOID), Command(Action.EXPIRE)


def capture(amount_minor: int | None = None) -> Command:
    """Capture an amount, or all."""
    return Command(Action.CAPTURE, amount_minor)


def refund(amount_minor: int | None = None, reason: str | None = None) -> Command:
    """Refund an amount, or all."""
    return Command(Action.REFUND, amount_minor, reason)


def asking(
    payment: Payment,
    command: Command,
    *,
    key: str,
    tenant_id: str | None = None,
    at: datetime | None = None,
) -> ChangePayment:
    """A request to change a payment, with a fresh UUID as each attempt has."""
    path = f"/v1/payments/{payment.id}/{command.action}"
    claim = Claim(
        tenant_id or payment.tenant_id, key, fingerprint("POST", path, str(command).encode())
    )
    return ChangePayment(payment.id, command, claim, uuid7().int, at or now())


async def made(
    world: World,
    tenant_id: str,
    *,
    capture_mode: CaptureMode = CaptureMode.MANUAL,
    money: Money = EUROS,
    key: str = "make",
) -> Payment:
    """A payment that stands there."""
    posting = posting_of(tenant_id, key, money=money, capture=capture_mode)
    assert Posted() == await world.perform(PostPayment(posting))
    return posting.payment


async def done(world: World, asked: ChangePayment) -> StoredReply:
    """Ask for a change that has to happen; the reply to it."""
    outcome = await world.perform(asked)
    assert isinstance(outcome, Changed)
    return outcome.reply


async def found(world: World, payment: Payment) -> Payment:
    """The payment as it is now."""
    read = await world.perform(FindPayment(payment.tenant_id, payment.id))
    assert read is not None
    return read


async def refunds_of(world: World, payment: Payment) -> tuple[Refund, ...]:
    """Its refunds."""
    refunds = await world.perform(ListRefunds(payment.tenant_id, payment.id))
    assert refunds is not None
    return refunds


async def moved(world: World, payment: Payment) -> list[tuple[Layer, int]]:
    """Its transfers in order: what each brings the merchant, and in which layer."""
    entries = await world.perform(ListPaymentEntries(payment.tenant_id, payment.id))
    assert entries is not None
    debits, credits_ = entries[::2], entries[1::2]
    assert {Direction.DEBIT} == {one.direction for one in debits}
    assert {Direction.CREDIT} == {one.direction for one in credits_}
    # The first transfer of every payment credits the merchant.
    merchant_id = credits_[0].account_id
    return [
        (
            credit.layer,
            credit.money.amount_minor * (1 if credit.account_id == merchant_id else -1),
        )
        for credit in credits_
    ]


async def assert_books_agree(world: World, payment: Payment) -> None:
    """Amounts, transfers and refunds of a payment say the same."""
    current = await found(world, payment)
    sums: Counter[Layer] = Counter({Layer.PENDING: 0, Layer.POSTED: 0})
    for layer, amount_minor in await moved(world, payment):
        sums[layer] += amount_minor
    assert current.amount_refundable_minor == sums[Layer.POSTED]
    assert current.amount_open_minor == sums[Layer.PENDING]
    given_back = sum(one.money.amount_minor for one in await refunds_of(world, payment))
    assert current.amount_refunded_minor == given_back
    assert given_back <= current.amount_captured_minor <= current.money.amount_minor


def amounts(payment: Payment) -> tuple[Status, int, int]:
    """Status, captured, refunded."""
    return payment.status, payment.amount_captured_minor, payment.amount_refunded_minor


@law
async def a_life_in_parts_is_written_as_the_rule_decides_it(world: World) -> None:
    tenant = await new_tenant(world)
    payment = await made(world, tenant.id)
    commands = [capture(300), capture(200), refund(400, HARD_TEXT), VOID, refund(50), refund()]
    told = [
        (Status.PARTIALLY_CAPTURED, 300, 0),
        (Status.PARTIALLY_CAPTURED, 500, 0),
        (Status.PARTIALLY_REFUNDED, 500, 400),
        (Status.PARTIALLY_REFUNDED, 500, 400),
        (Status.PARTIALLY_REFUNDED, 500, 450),
        (Status.REFUNDED, 500, 500),
    ]
    for number, (command, expected) in enumerate(zip(commands, told, strict=True)):
        asked = asking(payment, command, key=f"k-{number}")
        reply = await done(world, asked)
        current = await found(world, payment)
        assert expected == amounts(current)
        assert reply == await world.perform(FindRecord(asked.claim))
        assert (asked.claim.fingerprint, None) == (reply.fingerprint, reply.location)
        if command.action is not Action.REFUND:
            assert (200, encode(document(current))) == (reply.status, reply.body)
        await assert_books_agree(world, payment)
    pending, posted = Layer.PENDING, Layer.POSTED
    assert await moved(world, payment) == [
        (pending, 1250),
        (posted, 300),
        (pending, -300),
        (posted, 200),
        (pending, -200),
        # The refund of 400 takes all of the older capture, and a part of the other.
        (posted, -300),
        (posted, -100),
        (pending, -750),
        (posted, -50),
        (posted, -50),
    ]


@law
async def what_a_change_does_not_touch_stays_as_it_was(world: World) -> None:
    tenant = await new_tenant(world)
    payment, other = await made(world, tenant.id), await made(world, tenant.id, key="other")
    await done(world, asking(payment, capture(300), key="k"))
    current = await found(world, payment)
    assert current.expires_at == payment.expires_at
    assert (payment.metadata, payment.created_at, payment.capture) == (
        current.metadata,
        current.created_at,
        current.capture,
    )
    assert other == await found(world, other)
    wanted = PaymentFilter(status=Status.PARTIALLY_CAPTURED)
    assert (current,) == await world.perform(ListPayments(tenant.id, wanted, None, 100))


@law
async def refunds_are_listed_as_they_were_replied_the_oldest_first(world: World) -> None:
    tenant = await new_tenant(world)
    payment = await made(world, tenant.id, capture_mode=CaptureMode.AUTOMATIC)
    assert () == await refunds_of(world, payment)
    replies = [
        await done(world, asking(payment, refund(amount_minor, reason), key=f"k-{amount_minor}"))
        for amount_minor, reason in ((3, HARD_TEXT), (1, None), (2, ""))
    ]
    listed = await refunds_of(world, payment)
    assert [(3, HARD_TEXT), (1, None), (2, "")] == [
        (one.money.amount_minor, one.reason) for one in listed
    ]
    assert [encode(refund_document(one)) for one in listed] == [one.body for one in replies]
    assert [201] * 3 == [one.status for one in replies]
    nobody_s = await world.perform(ListRefunds(tenant.id, new_id(IdKind.PAYMENT)))
    assert nobody_s is None


@law
async def the_same_change_again_gets_the_first_reply_and_changes_nothing(world: World) -> None:
    tenant = await new_tenant(world)
    payment = await made(world, tenant.id)
    for key, command in (("c", capture(300)), ("r", refund(100)), ("v", VOID)):
        reply = await done(world, asking(payment, command, key=key))
        current, transfers = await found(world, payment), await moved(world, payment)
        again = await world.perform(asking(payment, command, key=key))
        assert Replayed(reply) == again
        assert (current, transfers) == (await found(world, payment), await moved(world, payment))
    # A replay is told the past, even where the state would not take the command any more.
    again = await world.perform(asking(payment, capture(300), key="c"))
    assert isinstance(again, Replayed)
    assert 1 == len(await refunds_of(world, payment))


@law
async def the_same_key_for_another_change_is_a_mismatch_and_changes_nothing(world: World) -> None:
    tenant = await new_tenant(world)
    payment, other = await made(world, tenant.id), await made(world, tenant.id, key="other")
    await done(world, asking(payment, capture(300), key="k"))
    current = await found(world, payment)
    assert Mismatched() == await world.perform(asking(payment, capture(301), key="k"))
    assert Mismatched() == await world.perform(asking(payment, VOID, key="k"))
    assert Mismatched() == await world.perform(asking(other, capture(300), key="k"))
    # The key that made a payment is taken too.
    assert Mismatched() == await world.perform(asking(payment, VOID, key="make"))
    assert Mismatched() == await world.perform(PostPayment(posting_of(tenant.id, "k")))
    assert current == await found(world, payment)
    assert other == await found(world, other)


@law
async def what_is_refused_changes_nothing_and_leaves_the_key_free(world: World) -> None:
    tenant = await new_tenant(world)
    payment = await made(world, tenant.id)
    refused: list[tuple[Command, Code]] = [
        (refund(1), Code.INVALID_TRANSITION),
        (capture(1251), Code.AMOUNT_TOO_LARGE),
        (EXPIRE, Code.INVALID_TRANSITION),
    ]
    for command, code in refused:
        asked = asking(payment, command, key="k")
        outcome = await world.perform(asked)
        assert isinstance(outcome, Refused)
        assert code is outcome.code
        assert payment == await found(world, payment)
        assert await world.perform(FindRecord(asked.claim)) is None
    assert [(Layer.PENDING, 1250)] == await moved(world, payment)
    await done(world, asking(payment, capture(1250), key="k"))


@law
async def another_tenant_s_payment_cannot_be_changed_nor_its_refunds_seen(world: World) -> None:
    tenant, stranger = await new_tenant(world), await new_tenant(world)
    payment = await made(world, tenant.id)
    for number, command in enumerate((capture(), VOID, refund(), EXPIRE)):
        asked = asking(payment, command, key=f"k-{number}", tenant_id=stranger.id)
        assert await world.perform(asked) is None
    assert await world.perform(ListRefunds(stranger.id, payment.id)) is None
    assert payment == await found(world, payment)
    # The stranger's key was not used up by it, and the owner may use the same one.
    await made(world, stranger.id, key="k-0")
    await done(world, asking(payment, capture(), key="k-0"))


@law
async def a_payment_that_nobody_has_cannot_be_changed(world: World) -> None:
    tenant = await new_tenant(world)
    unknown = posting_of(tenant.id, "k").payment
    asked = asking(unknown, capture(), key="k")
    assert await world.perform(asked) is None
    assert await world.perform(FindRecord(asked.claim)) is None


@law
async def an_authorization_expires_when_its_time_is_over_and_not_before(world: World) -> None:
    tenant = await new_tenant(world)
    early, late, partly = [await made(world, tenant.id, key=key) for key in ("e", "l", "p")]
    await done(world, asking(partly, capture(300), key="c"))
    over = late.created_at + AUTHORIZED_FOR
    refused = await world.perform(
        asking(early, EXPIRE, key="1", at=early.created_at + AUTHORIZED_FOR - INSTANT)
    )
    assert isinstance(refused, Refused)
    await done(
        world,
        asking(early, capture(), key="2", at=early.created_at + AUTHORIZED_FOR - INSTANT),
    )
    refused = await world.perform(asking(late, capture(), key="3", at=over))
    assert isinstance(refused, Refused)
    assert dict(refused.members) == {"payment_status": "authorized", "allowed": ("void",)}
    await done(world, asking(late, EXPIRE, key="4", at=over))
    await done(world, asking(partly, EXPIRE, key="5", at=over + AUTHORIZED_FOR))
    assert (Status.CAPTURED, 1250, 0) == amounts(await found(world, early))
    assert (Status.EXPIRED, 0, 0) == amounts(await found(world, late))
    assert (Status.CAPTURED, 300, 0) == amounts(await found(world, partly))
    for payment in (early, late, partly):
        assert (await found(world, payment)).expires_at is None
        await assert_books_agree(world, payment)


@law
async def the_largest_amount_is_captured_and_refunded_to_the_last_unit(world: World) -> None:
    tenant = await new_tenant(world)
    payment = await made(world, tenant.id, money=Money(AMOUNT_MINOR_MAX, "JPY"))
    await done(world, asking(payment, capture(AMOUNT_MINOR_MAX - 1), key="1"))
    await done(world, asking(payment, capture(), key="2"))
    await done(world, asking(payment, refund(AMOUNT_MINOR_MAX), key="3"))
    assert (Status.REFUNDED, AMOUNT_MINOR_MAX, AMOUNT_MINOR_MAX) == amounts(
        await found(world, payment)
    )
    await assert_books_agree(world, payment)


@law
async def the_ids_of_a_change_follow_from_its_uuid(world: World) -> None:
    tenant = await new_tenant(world)
    payment = await made(world, tenant.id, capture_mode=CaptureMode.AUTOMATIC)
    asked = asking(payment, refund(), key="k")
    await done(world, asked)
    (given_back,) = await refunds_of(world, payment)
    assert f"{IdKind.REFUND}_{suffix(asked.uuid)}" == given_back.id
    entries = await world.perform(ListPaymentEntries(tenant.id, payment.id))
    assert entries is not None
    assert f"{IdKind.TRANSFER}_{suffix(asked.uuid)}" in entries[-1].id
