"""Batches as conversations: an item for itself, an item prepared, and all or none of them."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxpay.core.batches import (
    Aborted,
    Item,
    Outcome,
    Prepared,
    Result,
    commit_together,
    create_item,
    find_batch,
    keep_batch,
    prepare_item,
)
from fluxpay.core.effects import (
    CountVelocity,
    FindRecord,
    PostBatch,
    PostPayment,
    ReadReply,
    RecordReply,
    Step,
    Unavailable,
)
from fluxpay.core.fraud import PaymentLimit, Velocity
from fluxpay.core.idempotency import (
    Expired,
    Mismatched,
    Posted,
    Replayed,
    Settled,
    StoredReply,
    refusal,
)
from fluxpay.core.money import Money
from fluxpay.core.payment_creation import Posting, create_payment
from fluxpay.core.problems import Code, Refused
from fluxpay.core.tenants import Tenant
from tests.core.conversation import Exchange, converse
from tests.core.examples import (
    EUROS,
    NOW,
    TENANT_ID,
    UUID,
    claim,
    payment_request,
    tenant,
    tenant_spec,
)

LIMIT = PaymentLimit("EUR", max_amount_minor=2000, velocity_count=3, velocity_window_s=60)
LIMITED = tenant(tenant_spec(payment_limits=(LIMIT,)))
ITEM = Item(payment_request(), claim("k-0"), UUID)
DOLLARS = replace(ITEM, request=payment_request(Money(1250, "USD")))
READ, FIND = ReadReply(ITEM.claim), FindRecord(ITEM.claim)
EARLIER = StoredReply(ITEM.claim.fingerprint, 201, b"earlier", location="/v1/payments/pay_1")
REJECTED_EARLIER = StoredReply(ITEM.claim.fingerprint, 422, b"rejected earlier")
OF_ANOTHER = StoredReply("0" * 64, 201, b"of another")
MADE_NOW = StoredReply(ITEM.claim.fingerprint, 200, b"made now")
REFUSED = Refused(Code.CURRENCY_NOT_ENABLED, "No.")
REPLAY = Settled(EARLIER, replayed=True)
REPLAYED_REFUSAL = Settled(REJECTED_EARLIER, replayed=True)
Begin = Callable[[Item, Tenant | None], Step[Prepared]]


def creating(item: Item = ITEM, whose: Tenant | None = None) -> Step[Result]:
    return create_item(item, tenant=whose or tenant(), now=NOW)


def preparing(item: Item = ITEM, whose: Tenant | None = None) -> Step[Prepared]:
    return prepare_item(item, tenant=whose or tenant(), now=NOW)


def posting(number: int = 0) -> Posting:
    """What the single request of an item commits."""
    step = create_payment(
        ITEM.request, tenant=tenant(), claim=claim(f"k-{number}"), uuid=UUID + number, now=NOW
    )
    effect = next(step)
    assert isinstance(effect, PostPayment)
    return effect.posting


def made(number: int) -> Settled:
    return Settled(posting(number).reply, replayed=False)


def aborted(cause_index: int) -> Refused:
    return Refused(
        Code.BATCH_ABORTED,
        f"Item {cause_index} of this batch (the first is 0) was refused, so none was made.",
        members=(("cause_index", cause_index),),
    )


def test_an_item_for_itself_is_looked_up_and_then_made_as_a_single_payment() -> None:
    exchanges = ((READ, None), (PostPayment(posting()), Posted()))
    assert made(0) == converse(creating(), *exchanges)


def test_a_prepared_item_is_assessed_and_not_committed() -> None:
    exchanges = ((READ, None), (CountVelocity(TENANT_ID, EUROS, LIMIT), Velocity(1, 1250)))
    assert posting() == converse(preparing(whose=LIMITED), *exchanges)


@pytest.mark.parametrize("begin", [creating, preparing])
@pytest.mark.parametrize(
    ("kept", "decision"),
    [(EARLIER, REPLAY), (OF_ANOTHER, refusal(Mismatched()))],
)
def test_an_item_whose_reply_is_remembered_is_neither_assessed_nor_posted(
    begin: Begin, kept: StoredReply, decision: Result
) -> None:
    assert decision == converse(begin(ITEM, LIMITED), (READ, kept))


@pytest.mark.parametrize("begin", [creating, preparing])
def test_an_item_that_was_rejected_before_stays_rejected(begin: Begin) -> None:
    exchanges = ((READ, REJECTED_EARLIER), (FIND, None))
    assert REPLAYED_REFUSAL == converse(begin(ITEM, LIMITED), *exchanges)


@pytest.mark.parametrize("begin", [creating, preparing])
def test_a_refused_item_is_looked_for_in_the_database_first(begin: Begin) -> None:
    told = Unavailable("redis")
    found = converse(begin(DOLLARS, None), (READ, told), (FIND, EARLIER))
    assert REPLAY == found
    decision = converse(begin(DOLLARS, None), (READ, told), (FIND, None))
    assert isinstance(decision, Refused)
    assert Code.CURRENCY_NOT_ENABLED is decision.code


def test_a_failure_while_an_item_is_prepared_comes_out() -> None:
    exchanges = ((READ, None), (CountVelocity(TENANT_ID, EUROS, LIMIT), OSError("gone")))
    with pytest.raises(OSError, match="gone"):
        converse(preparing(whose=LIMITED), *exchanges)


def test_prepared_items_are_committed_by_one_effect_and_told_in_order() -> None:
    post = PostBatch((posting(0), posting(1)))
    told = (Posted(), Replayed(EARLIER))
    step = commit_together((posting(0), REPLAY, posting(1)))
    assert (made(0), REPLAY, REPLAY) == converse(step, (post, told))


@pytest.mark.parametrize("refused", [REFUSED, REPLAYED_REFUSAL])
def test_one_refused_item_aborts_all_others_that_are_not_in_the_database(
    refused: Result,
) -> None:
    step = commit_together((posting(0), REPLAY, refused, posting(1), REFUSED))
    lookups = [(FindRecord(posting(n).claim), None) for n in range(2)]
    expected = (aborted(2), REPLAY, refused, aborted(2), REFUSED)
    assert expected == converse(step, *lookups)


def test_an_aborted_batch_tells_what_was_made_before_and_what_its_keys_were_used_for() -> None:
    step = commit_together((posting(0), posting(1), posting(2), REFUSED))
    found = (EARLIER, OF_ANOTHER, Expired("pay_1"))
    lookups = [(FindRecord(posting(n).claim), one) for n, one in enumerate(found)]
    expected = (REPLAY, refusal(Mismatched()), refusal(Expired("pay_1")), REFUSED)
    assert expected == converse(step, *lookups)


@pytest.mark.parametrize("outcome", [Mismatched(), Expired("pay_1")])
def test_what_the_database_refuses_is_the_cause_that_the_aborted_name(
    outcome: Mismatched | Expired,
) -> None:
    post = PostBatch((posting(0), posting(1), posting(2)))
    step = commit_together((REPLAY, *post.postings))
    expected = (REPLAY, aborted(2), refusal(outcome), REPLAY)
    assert expected == converse(step, (post, (Aborted(), outcome, Replayed(EARLIER))))


def test_a_batch_of_replays_is_answered_without_the_database() -> None:
    assert (REPLAY, REPLAY) == converse(commit_together((REPLAY, REPLAY)))


@pytest.mark.parametrize(
    ("recorded", "decision"),
    [
        (None, None),
        (EARLIER, REPLAY),
        (OF_ANOTHER, refusal(Mismatched())),
        (Expired("pay_1"), refusal(Expired("pay_1"))),
    ],
)
def test_the_key_of_a_batch_is_looked_up_in_the_database(
    recorded: StoredReply | Expired | None, decision: Result | None
) -> None:
    # What converse() gives back is the decision itself, which for a new batch is None.
    assert decision == converse(find_batch(ITEM.claim), (FIND, recorded))


@pytest.mark.parametrize(
    ("recorded", "decision"),
    [
        (MADE_NOW, Settled(MADE_NOW, replayed=False)),
        (EARLIER, REPLAY),
        (OF_ANOTHER, refusal(Mismatched())),
    ],
)
def test_the_batch_that_was_recorded_first_decides_what_its_twins_get(
    recorded: StoredReply, decision: Result
) -> None:
    keep = RecordReply(ITEM.claim, MADE_NOW, NOW)
    assert decision == converse(keep_batch(ITEM.claim, MADE_NOW, now=NOW), (keep, recorded))


def test_an_answer_that_leaves_an_item_out_is_a_bug_and_raises() -> None:
    step = commit_together((posting(0), posting(1)))
    with pytest.raises(ValueError, match="shorter"):
        converse(step, (PostBatch((posting(0), posting(1))), (Posted(),)))


@given(st.lists(st.sampled_from(["new", "replay", "refused", "mismatched"]), min_size=1))
def test_an_atomic_batch_never_makes_some_of_its_payments_and_refuses_others(
    kinds: list[str],
) -> None:
    prepared: dict[str, Prepared] = {"replay": REPLAY, "refused": REFUSED}
    items = tuple(prepared.get(kind, posting(n)) for n, kind in enumerate(kinds))
    postings = tuple(one for one in items if isinstance(one, Posting))
    fits = "mismatched" not in kinds
    outcomes: dict[str, Outcome] = {
        "new": Posted() if fits else Aborted(),
        "mismatched": Mismatched(),
    }
    told = tuple(outcomes[kind] for kind in kinds if kind in outcomes)
    exchanges: list[Exchange] = [(PostBatch(postings), told)] if postings else []
    if "refused" in kinds:
        exchanges = [(FindRecord(one.claim), None) for one in postings]
    results = converse(commit_together(items), *exchanges)
    assert len(kinds) == len(results)
    new = {
        isinstance(one, Settled) for one, kind in zip(results, kinds, strict=True) if kind == "new"
    }
    assert new <= {"refused" not in kinds and fits}
