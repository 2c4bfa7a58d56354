"""The contract of changing one payment from many sides at once: limits, claims and books hold."""

import asyncio
from collections import Counter
from typing import Final

from fluxpay.core.effects import FindPayment, PostPayment
from fluxpay.core.idempotency import Expired, Mismatched, Posted, Replayed
from fluxpay.core.ledger import Layer
from fluxpay.core.money import Money
from fluxpay.core.payment_changes import Changed
from fluxpay.core.payments import Action, CaptureMode, Status
from fluxpay.core.problems import Refused
from tests.contracts.changing import (
    VOID,
    amounts,
    asking,
    assert_books_agree,
    capture,
    done,
    found,
    made,
    moved,
    refund,
    refunds_of,
)
from tests.contracts.law import World, law, new_tenant
from tests.contracts.posting import posting_of

CLIENTS: Final = 64
Outcome = Changed | Replayed | Mismatched | Expired | Refused | None


def outcomes_of(outcomes: list[Outcome]) -> Counter[str]:
    """How often each kind of outcome came, a refusal by its code."""
    return Counter(
        str(one.code) if isinstance(one, Refused) else type(one).__name__ for one in outcomes
    )


@law
async def many_captures_at_once_never_take_more_than_was_authorized(world: World) -> None:
    tenant = await new_tenant(world)
    payment = await made(world, tenant.id, money=Money(1000, "EUR"))
    # Of 90 each, eleven fit and leave 10.
    asked = [asking(payment, capture(90), key=f"k-{number}") for number in range(CLIENTS)]
    outcomes = await asyncio.gather(*(world.perform(one) for one in asked))
    assert {"Changed": 11, "amount_too_large": CLIENTS - 11} == outcomes_of(outcomes)
    assert (Status.PARTIALLY_CAPTURED, 990, 0) == amounts(await found(world, payment))
    await assert_books_agree(world, payment)


@law
async def many_refunds_at_once_never_give_back_more_than_was_captured(world: World) -> None:
    tenant = await new_tenant(world)
    payment = await made(world, tenant.id, money=Money(1000, "EUR"))
    for number in range(4):
        await done(world, asking(payment, capture(250), key=f"c-{number}"))
    # Of 125 each, eight fit exactly, so the later ones meet a payment that is refunded.
    asked = [asking(payment, refund(125), key=f"k-{number}") for number in range(CLIENTS)]
    outcomes = await asyncio.gather(*(world.perform(one) for one in asked))
    assert {"Changed": 8, "invalid_transition": CLIENTS - 8} == outcomes_of(outcomes)
    assert (Status.REFUNDED, 1000, 1000) == amounts(await found(world, payment))
    await assert_books_agree(world, payment)


@law
async def many_at_once_with_one_claim_change_a_payment_once(world: World) -> None:
    tenant = await new_tenant(world)
    payment = await made(world, tenant.id, capture_mode=CaptureMode.AUTOMATIC)
    asked = [asking(payment, refund(100), key="k") for _ in range(CLIENTS)]
    outcomes = await asyncio.gather(*(world.perform(one) for one in asked))
    assert {"Changed": 1, "Replayed": CLIENTS - 1} == outcomes_of(outcomes)
    replies = {one.reply for one in outcomes if isinstance(one, Changed | Replayed)}
    assert 1 == len(replies)
    assert (Status.PARTIALLY_REFUNDED, 1250, 100) == amounts(await found(world, payment))
    assert 1 == len(await refunds_of(world, payment))


@law
async def all_kinds_of_changes_at_once_leave_books_that_agree(world: World) -> None:
    tenant = await new_tenant(world)
    payment = await made(world, tenant.id, money=Money(1000, "EUR"))
    commands = [capture(70), refund(50), capture(90), refund(40), capture(110), refund()]
    asked = [asking(payment, commands[number % 6], key=f"k-{number}") for number in range(CLIENTS)]
    asked.insert(CLIENTS // 2, asking(payment, VOID, key="void"))
    outcomes = await asyncio.gather(*(world.perform(one) for one in asked))
    seen = outcomes_of(outcomes)
    assert set(seen) <= {"Changed", "invalid_transition", "amount_too_large"}
    told = Counter(
        one.command.action
        for one, outcome in zip(asked, outcomes, strict=True)
        if isinstance(outcome, Changed)
    )
    assert told[Action.REFUND] == len(await refunds_of(world, payment))
    assert told[Action.CAPTURE] == sum(
        layer is Layer.POSTED and amount_minor > 0
        for layer, amount_minor in await moved(world, payment)
    )
    await assert_books_agree(world, payment)


@law
async def one_key_for_many_payments_at_once_changes_one_of_them(world: World) -> None:
    tenant = await new_tenant(world)
    payments = [await made(world, tenant.id, key=f"make-{number}") for number in range(8)]
    # Different rows, hence different locks: only the key itself stands between them.
    asked = [asking(payment, capture(), key="k") for payment in payments]
    outcomes = await asyncio.gather(*(world.perform(one) for one in asked))
    assert {"Changed": 1, "Mismatched": 7} == outcomes_of(outcomes)
    current = [await found(world, payment) for payment in payments]
    assert 1 == sum(one.status is Status.CAPTURED for one in current)
    for payment in payments:
        await assert_books_agree(world, payment)


@law
async def a_payment_and_a_change_at_once_under_one_key_are_one_of_both(world: World) -> None:
    tenant = await new_tenant(world)
    for number in range(8):
        payment = await made(world, tenant.id, key=f"make-{number}")
        posting = posting_of(tenant.id, f"k-{number}")
        posted, changed = await asyncio.gather(
            world.perform(PostPayment(posting)),
            world.perform(asking(payment, capture(), key=f"k-{number}")),
        )
        is_posted = posted == Posted()
        assert (Mismatched() == posted) is not is_posted
        assert (Mismatched() == changed) is is_posted
        stands = await world.perform(FindPayment(tenant.id, posting.payment.id))
        assert (posting.payment if is_posted else None) == stands
        status = (await found(world, payment)).status
        assert (Status.AUTHORIZED if is_posted else Status.CAPTURED) is status
