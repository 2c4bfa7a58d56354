"""Many payments in one request: each for itself, or all or none.

Knows that every item is the payment it would be in a request of its own: same key space, same
fingerprint, own fraud assessment, own result. What is atomic is assessed as a whole before any of
it is committed, and then commits in one effect. Must not know HTTP, SQL, clocks, nor how many
items are worked on at once.

Velocity is counted when an item is assessed. An atomic batch that is refused afterwards has
counted the items that passed: an attempt is an attempt, and nothing is un-counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from fluxpay.core import fraud, idempotency
from fluxpay.core.effects import FindRecord, PostBatch, PostPayment, RecordReply
from fluxpay.core.idempotency import (
    Claim,
    Expired,
    Mismatched,
    Posted,
    Replayed,
    Settled,
    StoredReply,
)
from fluxpay.core.payment_creation import Posting, create_payment
from fluxpay.core.problems import Code, Refused

if TYPE_CHECKING:
    from datetime import datetime

    from fluxpay.core.effects import Step
    from fluxpay.core.fraud import Rule
    from fluxpay.core.payments import PaymentRequest
    from fluxpay.core.tenants import Tenant

ITEMS_MAX: Final = 500
_REFUSAL_STATUS_MIN: Final = 400


class BatchMode(StrEnum):
    """What a refused item means for the others."""

    ATOMIC = "atomic"
    INDEPENDENT = "independent"


@dataclass(frozen=True, slots=True)
class Item:
    """One payment of a batch.

    Args:
        claim: The claim of the single request that this item stands for.
        uuid: A fresh UUIDv7 as an integer.
    """

    request: PaymentRequest
    claim: Claim
    uuid: int


@dataclass(frozen=True, slots=True)
class Aborted:
    """The posting was sound, and was undone with the rest of its batch."""


Result: TypeAlias = Settled | Refused
"""What an item gets; a settled one may be the replay of a refusal."""

Outcome: TypeAlias = Posted | Replayed | Mismatched | Expired | Aborted
"""What became of one posting of an atomic batch."""

Prepared: TypeAlias = Posting | Settled | Refused
"""An item that was assessed: what it would commit, or what it gets without a commit."""


def find_batch(claim: Claim) -> Step[Result | None]:
    """Ask the database for the reply to a whole batch; None means that it is still to be worked.

    The cache was asked before. What makes a batch harmless to repeat are the keys of its items;
    its own key has to tell a repetition from another batch also when the cache is lost.
    """
    recorded = yield from FindRecord(claim)
    if recorded is None:
        return None
    if isinstance(recorded, Expired):
        return idempotency.refusal(recorded)
    return _replayed(idempotency.settle(claim, recorded))


def keep_batch(claim: Claim, reply: StoredReply, *, now: datetime) -> Step[Result]:
    """Record the reply to a whole batch; a twin that was first decides what both get.

    The record follows the items and is no part of their transactions: lost between the two, the
    batch is worked again, and its items answer what they answered.
    """
    recorded = yield from RecordReply(claim, reply, now)
    if recorded == reply:
        return Settled(reply, replayed=False)
    return _replayed(idempotency.settle(claim, recorded))


def create_item(
    item: Item, *, tenant: Tenant, now: datetime, rules: tuple[Rule, ...] = fraud.RULES
) -> Step[Result]:
    """Make one payment of a batch for itself, as a request of its own would.

    Args:
        item: What is asked for.
        tenant: Who is paid.
        now: The current instant, in UTC.
        rules: The fraud rules, in order.
    """
    recalled = yield from _recall(item)
    if recalled is not None:
        return recalled
    return (yield from _creation(item, tenant=tenant, now=now, rules=rules))


def prepare_item(
    item: Item, *, tenant: Tenant, now: datetime, rules: tuple[Rule, ...] = fraud.RULES
) -> Step[Prepared]:
    """Assess one payment of an atomic batch, and commit nothing.

    Args:
        item: What is asked for.
        tenant: Who is paid.
        now: The current instant, in UTC.
        rules: The fraud rules, in order.
    """
    recalled = yield from _recall(item)
    if recalled is not None:
        return recalled
    # The creation itself, left where it would commit: so it can never assess otherwise than a
    # request of its own. It handles no failure, so what is thrown need not reach it.
    step = _creation(item, tenant=tenant, now=now, rules=rules)
    answer: object = None
    while True:
        try:
            effect = step.send(answer)
        except StopIteration as decided:
            decision: Result = decided.value
            return decision
        if isinstance(effect, PostPayment):
            step.close()
            return effect.posting
        answer = yield effect


def commit_together(prepared: tuple[Prepared, ...]) -> Step[tuple[Result, ...]]:
    """Commit what the items of an atomic batch were prepared to, or none of it.

    What was done before stays done: an item that is the replay of a payment is no obstacle.

    Returns:
        A result for each item, in order.
    """
    postings = tuple(one for one in prepared if isinstance(one, Posting))
    outcomes: tuple[Outcome, ...] = ()
    if any(_is_refusal(one) for one in prepared):
        outcomes = yield from _abort(postings)
    elif postings:
        outcomes = yield from PostBatch(postings)
    told = iter([_told(*both) for both in zip(postings, outcomes, strict=True)])
    found = [next(told) if isinstance(one, Posting) else one for one in prepared]
    refusals = (at for at, one in enumerate(found) if _is_refusal(one))
    aborted = _aborted(next(refusals, 0))
    return tuple(aborted if isinstance(one, Aborted) else one for one in found)


def _abort(postings: tuple[Posting, ...]) -> Step[tuple[Outcome, ...]]:
    """Commit nothing. What was made before, and is lost from the cache, is told nevertheless."""
    outcomes: list[Outcome] = []
    for posting in postings:
        recorded = yield from FindRecord(posting.claim)
        if recorded is None:
            outcomes.append(Aborted())
        elif isinstance(recorded, Expired):
            outcomes.append(recorded)
        else:
            outcomes.append(idempotency.settle(posting.claim, recorded))
    return tuple(outcomes)


def _told(posting: Posting, outcome: Outcome) -> Result | Aborted:
    match outcome:
        case Posted():
            return Settled(posting.reply, replayed=False)
        case Replayed(reply):
            return Settled(reply, replayed=True)
        case Mismatched() | Expired():
            return idempotency.refusal(outcome)
        case Aborted():
            return outcome
        case _:
            assert_never(outcome)


def _creation(
    item: Item, *, tenant: Tenant, now: datetime, rules: tuple[Rule, ...]
) -> Step[Result]:
    return create_payment(
        item.request, tenant=tenant, claim=item.claim, uuid=item.uuid, now=now, rules=rules
    )


def _recall(item: Item) -> Step[Result | None]:
    """Ask the cache for the item's reply, as the idempotency gate does for a single request."""
    recalled = yield from idempotency.recall(item.claim)
    return None if recalled is None else _replayed(recalled)


def _replayed(found: Replayed | Mismatched) -> Result:
    match found:
        case Replayed(reply):
            return Settled(reply, replayed=True)
        case Mismatched():
            return idempotency.refusal(found)
        case _:
            assert_never(found)


def _is_refusal(one: Prepared | Aborted) -> bool:
    if isinstance(one, Settled):
        return one.reply.status >= _REFUSAL_STATUS_MIN
    return isinstance(one, Refused)


def _aborted(cause_index: int) -> Refused:
    return Refused(
        Code.BATCH_ABORTED,
        f"Item {cause_index} of this batch (the first is 0) was refused, so none was made.",
        members=(("cause_index", cause_index),),
    )
