"""Laws of every life of a payment: whatever is asked of it, in whatever order, at any time.

Hypothesis makes the lives; `lives` keeps the books of each beside it.
"""

import json
from collections import Counter
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from fluxpay.core.events import EventType
from fluxpay.core.ledger import Layer, TransferKind
from fluxpay.core.payment_changes import Change, Command, accepted_at
from fluxpay.core.payments import TRANSITIONS, Action, Payment, Status, document, refund_document
from fluxpay.core.problems import Code, Refused
from tests.core.examples import UUID
from tests.core.lives import BETWEEN_UUIDS, DAY, Books, Turn, ask, lives

# Made after all that the lives make.
LATER_UUID = UUID + 1000 * BETWEEN_UUIDS

EVENT_TYPES = {
    Action.CAPTURE: EventType.PAYMENT_CAPTURED,
    Action.VOID: EventType.PAYMENT_VOIDED,
    Action.EXPIRE: EventType.PAYMENT_EXPIRED,
    Action.REFUND: EventType.REFUND_CREATED,
}
REVERSES = {
    TransferKind.RELEASE: TransferKind.AUTHORIZATION,
    TransferKind.REFUND: TransferKind.CAPTURE,
}


def changes(turns: list[Turn]) -> list[tuple[Turn, Change]]:
    """The turns that changed something."""
    return [(one, one.decided) for one in turns if isinstance(one.decided, Change)]


def taken_by(books: Books, *, now: datetime) -> set[Action]:
    """The actions that the payment takes, found by asking for each."""
    turns = [ask(books, Command(action), uuid=LATER_UUID, now=now) for action in Action]
    return {turn.command.action for turn, _ in changes(turns)}


def status_of(payment: Payment) -> set[Status]:
    """The statuses that its amounts allow, said in another way than the core says it."""
    total = payment.money.amount_minor
    captured, refunded = payment.amount_captured_minor, payment.amount_refunded_minor
    match captured > 0, refunded > 0, payment.expires_at is not None:
        case False, _, True:
            return {Status.AUTHORIZED}
        case False, _, False:
            return {Status.VOIDED, Status.EXPIRED}
        case True, False, is_open:
            return {Status.PARTIALLY_CAPTURED if is_open and captured < total else Status.CAPTURED}
        case _, _, is_open:
            is_over = captured == refunded and not is_open
            return {Status.REFUNDED if is_over else Status.PARTIALLY_REFUNDED}


@given(lives)
def test_a_status_follows_another_only_as_the_table_says(turns: list[Turn]) -> None:
    for turn, decided in changes(turns):
        before = turn.before.payment.status
        assert decided.payment.status in TRANSITIONS[before][turn.command.action]


@given(lives)
def test_amounts_stay_within_their_limits_and_never_shrink(turns: list[Turn]) -> None:
    for turn in turns:
        before, after = turn.before.payment, turn.after.payment
        assert 0 <= after.amount_refunded_minor <= after.amount_captured_minor
        assert after.amount_captured_minor <= after.money.amount_minor
        assert before.amount_captured_minor <= after.amount_captured_minor
        assert before.amount_refunded_minor <= after.amount_refunded_minor


@given(lives)
def test_the_status_is_what_the_amounts_amount_to(turns: list[Turn]) -> None:
    for turn in turns:
        assert turn.after.payment.status in status_of(turn.after.payment)


@given(lives)
def test_the_ledger_holds_what_was_taken_and_sets_aside_what_is_open(turns: list[Turn]) -> None:
    for turn in turns:
        payment = turn.after.payment
        kept_minor = payment.amount_captured_minor - payment.amount_refunded_minor
        assert kept_minor == turn.after.balance_minor(Layer.POSTED)
        assert payment.amount_open_minor == turn.after.balance_minor(Layer.PENDING)


@given(lives)
def test_a_reversal_names_what_it_reverses_and_never_takes_more(turns: list[Turn]) -> None:
    transfers = {one.id: one for one in turns[-1].after.transfers}
    reversed_minor: Counter[str] = Counter()
    for one in transfers.values():
        if one.reverses is None:
            assert one.kind not in REVERSES
            continue
        origin = transfers[one.reverses]
        assert REVERSES[one.kind] is origin.kind
        assert (origin.credit, origin.debit) == (one.debit, one.credit)
        reversed_minor[origin.id] += one.money.amount_minor
    over = {
        one: amount
        for one, amount in reversed_minor.items()
        if amount > transfers[one].money.amount_minor
    }
    assert {} == over


@given(lives)
def test_a_refund_takes_from_a_capture_only_once_the_older_ones_are_spent(
    turns: list[Turn],
) -> None:
    for turn in turns:
        left = [
            (one.left_minor, one.transfer.money.amount_minor)
            for one in turn.after.open_transfers
            if one.transfer.kind is TransferKind.CAPTURE
        ]
        # From the oldest on: spent ones, then at most one that is begun, then whole ones.
        begun = [rest for rest, whole in left if 0 < rest < whole]
        assert len(begun) <= 1
        order = [0 if rest == 0 else 1 if rest < whole else 2 for rest, whole in left]
        assert sorted(order) == order


@given(lives)
def test_every_id_of_a_life_is_made_once(turns: list[Turn]) -> None:
    ids = [one.id for one in turns[-1].after.transfers]
    for turn, decided in changes(turns):
        ids.append(decided.event.id)
        ids.append(decided.event.subject_id)
        if decided.refund is None:
            assert turn.before.payment.id == ids.pop()
    assert sorted(set(ids)) == sorted(ids)


@given(lives)
def test_a_refused_command_changes_nothing_and_says_why(turns: list[Turn]) -> None:
    for turn in turns:
        if isinstance(turn.decided, Refused):
            assert turn.before == turn.after
            assert turn.decided.code in {Code.INVALID_TRANSITION, Code.AMOUNT_TOO_LARGE}


@given(lives)
def test_a_change_carries_what_a_read_would_show_and_the_event_of_its_action(
    turns: list[Turn],
) -> None:
    for turn, decided in changes(turns):
        assert EVENT_TYPES[turn.command.action] is decided.event.type
        assert decided.body == decided.event.data
        is_refund = turn.command.action is Action.REFUND
        assert is_refund is (decided.refund is not None)
        assert (201 if is_refund else 200) == decided.status
        shown = (
            document(decided.payment) if decided.refund is None else refund_document(decided.refund)
        )
        assert shown == json.loads(decided.body)
        assert {decided.event.created_at} == {one.created_at for one in decided.transfers}


@given(turns=lives, waited_days=st.sampled_from([0, 1, 7]))
def test_what_is_allowed_is_exactly_what_is_taken(turns: list[Turn], waited_days: int) -> None:
    last = turns[-1]
    payment, now = last.after.payment, last.now + waited_days * DAY
    taken = taken_by(last.after, now=now)
    assert set(accepted_at(payment, now)) == taken
    # Time decides between taking and letting go, and forbids nothing else that is allowed.
    is_due = payment.expires_at is not None and payment.expires_at <= now
    untimely = Action.CAPTURE if is_due else Action.EXPIRE
    assert set(payment.allowed) - {untimely} == taken


@given(lives)
def test_a_refusal_names_exactly_what_a_client_could_have_asked(turns: list[Turn]) -> None:
    for turn in turns:
        if not isinstance(turn.decided, Refused) or turn.decided.code is Code.AMOUNT_TOO_LARGE:
            continue
        told = dict(turn.decided.members)
        assert turn.before.payment.status == told["payment_status"]
        listed = told["allowed"]
        assert isinstance(listed, tuple)
        assert taken_by(turn.before, now=turn.now) - {Action.EXPIRE} == set(listed)


@given(lives)
def test_a_life_ends_when_nothing_is_left_and_can_always_go_on_before(turns: list[Turn]) -> None:
    payment = turns[-1].after.payment
    is_anything_left = payment.amount_open_minor > 0 or payment.amount_refundable_minor > 0
    assert is_anything_left is bool(accepted_at(payment, turns[-1].now))
