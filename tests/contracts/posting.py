"""The contract of posting payments: one claim, one payment, one reply, whoever asks at once."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from uuid_utils import uuid7

from fluxpay.core import ledger
from fluxpay.core.effects import FindPayment, FindRecord, ListPaymentEntries, PostPayment
from fluxpay.core.events import Event, EventType
from fluxpay.core.idempotency import (
    Claim,
    Expired,
    Mismatched,
    Posted,
    Replayed,
    StoredReply,
    fingerprint,
)
from fluxpay.core.ids import IdKind, suffix
from fluxpay.core.ledger import entries
from fluxpay.core.money import AMOUNT_MINOR_MAX, Money
from fluxpay.core.payment_creation import Posting
from fluxpay.core.payments import CaptureMode, Payment, Status, document, encode
from tests.contracts.law import World, law, new_id, new_tenant, now

OTHER_FINGERPRINT = fingerprint("POST", "/v1/payments", b"something else")
EUROS = Money(1250, "EUR")
AUTHORIZED_FOR = timedelta(days=7)
HARD_TEXT = "NULL \\ \" ' é 日本 \U0001f600 \u2028 {$1} %s"


def posting_of(
    tenant_id: str,
    key: str,
    *,
    money: Money = EUROS,
    reference: str | None = None,
    description: str | None = None,
    capture: CaptureMode = CaptureMode.AUTOMATIC,
) -> Posting:
    """What a fresh payment under this key commits."""
    shared, created_at = suffix(uuid7().int), now()
    is_captured = capture is CaptureMode.AUTOMATIC
    claim = Claim(tenant_id, key, fingerprint("POST", "/v1/payments", str(money).encode()))
    payment = Payment(
        id=f"{IdKind.PAYMENT}_{shared}",
        tenant_id=tenant_id,
        money=money,
        status=Status.CAPTURED if is_captured else Status.AUTHORIZED,
        amount_captured_minor=money.amount_minor if is_captured else 0,
        amount_refunded_minor=0,
        capture=capture,
        description=description,
        reference=reference,
        metadata={"till": "2", "note": HARD_TEXT},
        created_at=created_at,
        expires_at=None if is_captured else created_at + AUTHORIZED_FOR,
    )
    body = encode(document(payment))
    move = ledger.capture if is_captured else ledger.authorize
    return Posting(
        claim=claim,
        payment=payment,
        transfer=move(f"{IdKind.TRANSFER}_{shared}", tenant_id, money=money, now=created_at),
        event=Event(
            id=f"{IdKind.EVENT}_{shared}",
            type=EventType.PAYMENT_CAPTURED if is_captured else EventType.PAYMENT_AUTHORIZED,
            subject_id=payment.id,
            data=body,
            created_at=created_at,
        ),
        reply=StoredReply(claim.fingerprint, 201, body, location=f"/v1/payments/{payment.id}"),
    )


async def assert_stored(world: World, posting: Posting) -> None:
    """The payment, its record and its entries read back as they were posted."""
    tenant_id, payment_id = posting.payment.tenant_id, posting.payment.id
    assert posting.payment == await world.perform(FindPayment(tenant_id, payment_id))
    assert posting.reply == await world.perform(FindRecord(posting.claim))
    read = await world.perform(ListPaymentEntries(tenant_id, payment_id))
    assert read is not None
    assert sorted(entries(posting.transfer), key=_side) == sorted(read, key=_side)


async def assert_absent(world: World, posting: Posting) -> None:
    """Nothing of the payment was stored."""
    tenant_id, payment_id = posting.payment.tenant_id, posting.payment.id
    assert await world.perform(FindPayment(tenant_id, payment_id)) is None
    assert await world.perform(ListPaymentEntries(tenant_id, payment_id)) is None


@law
async def a_new_claim_is_posted_and_read_back_in_full(world: World) -> None:
    tenant = await new_tenant(world)
    posting = posting_of(tenant.id, "k", reference="order-7", description=HARD_TEXT)
    assert await world.perform(FindRecord(posting.claim)) is None
    assert Posted() == await world.perform(PostPayment(posting))
    await assert_stored(world, posting)


@law
async def an_authorization_is_posted_and_read_back_in_full(world: World) -> None:
    tenant = await new_tenant(world)
    posting = posting_of(tenant.id, "k", capture=CaptureMode.MANUAL)
    assert Posted() == await world.perform(PostPayment(posting))
    await assert_stored(world, posting)


@law
async def an_unknown_payment_is_found_nowhere(world: World) -> None:
    tenant = await new_tenant(world)
    await assert_absent(world, posting_of(tenant.id, "k"))


@law
async def the_same_claim_again_gets_the_first_reply_and_posts_nothing(world: World) -> None:
    tenant = await new_tenant(world)
    first, again = posting_of(tenant.id, "k"), posting_of(tenant.id, "k")
    assert Posted() == await world.perform(PostPayment(first))
    assert Replayed(first.reply) == await world.perform(PostPayment(again))
    await assert_stored(world, first)
    await assert_absent(world, again)


@law
async def the_same_key_for_another_request_is_a_mismatch_and_posts_nothing(world: World) -> None:
    tenant = await new_tenant(world)
    first, other = posting_of(tenant.id, "k"), posting_of(tenant.id, "k")
    other = replace(other, claim=replace(other.claim, fingerprint=OTHER_FINGERPRINT))
    assert Posted() == await world.perform(PostPayment(first))
    assert Mismatched() == await world.perform(PostPayment(other))
    await assert_stored(world, first)
    await assert_absent(world, other)
    # Whoever looks up the key sees the reply with its fingerprint, and settles it himself.
    assert first.reply == await world.perform(FindRecord(other.claim))


@law
async def keys_are_compared_to_the_letter(world: World) -> None:
    tenant = await new_tenant(world)
    keys = ["k", "K", "k!", "k%", "_", "k\\", '"k"', "'", "~" * 255]
    for key in keys:
        assert Posted() == await world.perform(PostPayment(posting_of(tenant.id, key)))


@law
async def another_tenant_with_the_same_key_has_a_payment_of_its_own(world: World) -> None:
    one, other = await new_tenant(world), await new_tenant(world)
    postings = [posting_of(tenant.id, "k") for tenant in (one, other)]
    for posting in postings:
        assert Posted() == await world.perform(PostPayment(posting))
    for posting in postings:
        await assert_stored(world, posting)


@law
async def another_tenant_s_payment_is_not_there(world: World) -> None:
    one, other = await new_tenant(world), await new_tenant(world)
    posting = posting_of(one.id, "k")
    assert Posted() == await world.perform(PostPayment(posting))
    assert await world.perform(FindPayment(other.id, posting.payment.id)) is None
    assert await world.perform(ListPaymentEntries(other.id, posting.payment.id)) is None
    assert await world.perform(FindRecord(replace(posting.claim, tenant_id=other.id))) is None


@law
async def fifty_at_once_with_one_claim_make_one_payment(world: World) -> None:
    tenant = await new_tenant(world)
    postings = [posting_of(tenant.id, "k") for _ in range(50)]
    outcomes = await asyncio.gather(*(world.perform(PostPayment(one)) for one in postings))
    posted = [one for one, outcome in zip(postings, outcomes, strict=True) if outcome == Posted()]
    assert 1 == len(posted)
    replayed = [outcome for outcome in outcomes if outcome != Posted()]
    assert [Replayed(posted[0].reply)] * 49 == replayed
    await assert_stored(world, posted[0])
    for posting in postings:
        if posting is not posted[0]:
            await assert_absent(world, posting)


@law
async def many_at_once_each_get_their_own_answer(world: World) -> None:
    tenants = [await new_tenant(world) for _ in range(3)]
    # Thirty keys of three tenants, each asked three times: twice alike and once for other money.
    postings = [
        posting_of(tenant.id, f"k-{number}", money=money)
        for money in (Money(700, "EUR"), Money(700, "EUR"), Money(900, "JPY"))
        for tenant in tenants
        for number in range(30)
    ]
    outcomes = await asyncio.gather(*(world.perform(PostPayment(one)) for one in postings))
    answered = list(zip(postings, outcomes, strict=True))
    winners = {
        (one.claim.tenant_id, one.claim.key): one
        for one, outcome in answered
        if outcome == Posted()
    }
    assert 90 == len(winners) == sum(outcome == Posted() for outcome in outcomes)
    for posting, outcome in answered:
        winner = winners[posting.claim.tenant_id, posting.claim.key]
        if posting is winner:
            await assert_stored(world, posting)
            continue
        same = posting.claim.fingerprint == winner.claim.fingerprint
        assert (Replayed(winner.reply) if same else Mismatched()) == outcome
        await assert_absent(world, posting)


@law
async def every_transfer_balances_however_large(world: World) -> None:
    tenant = await new_tenant(world)
    moneys = [Money(AMOUNT_MINOR_MAX, "EUR"), Money(1, "JPY"), Money(AMOUNT_MINOR_MAX, "JPY")]
    sums: Counter[tuple[str, str]] = Counter()
    for number, money in enumerate(moneys):
        posting = posting_of(tenant.id, f"k-{number}", money=money)
        assert Posted() == await world.perform(PostPayment(posting))
        await assert_stored(world, posting)
        read = await world.perform(ListPaymentEntries(tenant.id, posting.payment.id))
        for entry in read or ():
            sums[entry.direction, entry.money.currency] += entry.money.amount_minor
    totals = {"EUR": AMOUNT_MINOR_MAX, "JPY": AMOUNT_MINOR_MAX + 1}
    expected = {
        (side, name): total for side in ("debit", "credit") for name, total in totals.items()
    }
    assert expected == sums


@law
async def an_id_that_nobody_has_is_found_nowhere(world: World) -> None:
    tenant = await new_tenant(world)
    assert await world.perform(FindPayment(tenant.id, new_id(IdKind.PAYMENT))) is None
    nobody = new_id(IdKind.TENANT)
    assert await world.perform(FindPayment(nobody, new_id(IdKind.PAYMENT))) is None


async def a_claim_whose_record_is_gone_still_names_its_payment(
    world: World, forget: Callable[[Posting], None]
) -> None:
    """No effect purges a record, so each world says how to forget one, and this is no `law`."""
    tenant = await new_tenant(world)
    first, again = posting_of(tenant.id, "k"), posting_of(tenant.id, "k")
    assert Posted() == await world.perform(PostPayment(first))
    forget(first)
    expired = Expired(first.payment.id)
    assert expired == await world.perform(FindRecord(first.claim))
    assert expired == await world.perform(PostPayment(again))
    await assert_absent(world, again)


def _side(entry: object) -> str:
    return str(getattr(entry, "direction", ""))
