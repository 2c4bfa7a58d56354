"""`change_payment` as a conversation: one question, and a decision for every answer."""

import pytest

from fluxpay.core.effects import ChangePayment
from fluxpay.core.idempotency import Expired, Mismatched, Replayed, Settled, StoredReply, refusal
from fluxpay.core.ids import suffix
from fluxpay.core.payment_changes import Change, Changed, change, change_payment
from fluxpay.core.problems import Code, Refused
from tests.core.conversation import converse
from tests.core.examples import NOW, UUID, claim
from tests.core.lives import VOID, born, capture, refund

CLAIM = claim()
PAYMENT_ID = f"pay_{suffix(UUID)}"
FIRST = StoredReply(CLAIM.fingerprint, 200, b"the payment")
NOT_ALLOWED = Refused(Code.INVALID_TRANSITION, "It does not take this.")


@pytest.mark.parametrize(
    ("outcome", "decision"),
    [
        pytest.param(Changed(FIRST), Settled(FIRST, replayed=False), id="changed"),
        pytest.param(Replayed(FIRST), Settled(FIRST, replayed=True), id="replayed"),
        pytest.param(Mismatched(), refusal(Mismatched()), id="the key was another request's"),
        pytest.param(Expired("pay_1"), refusal(Expired("pay_1")), id="the key made a payment"),
        pytest.param(NOT_ALLOWED, NOT_ALLOWED, id="refused"),
        pytest.param(
            None, Refused(Code.NOT_FOUND, "There is no such payment."), id="no such payment"
        ),
    ],
)
def test_a_change_is_one_question_to_the_database(
    outcome: object, decision: Settled | Refused
) -> None:
    command = refund(300, "Stale beans")
    step = change_payment(PAYMENT_ID, command, claim=CLAIM, uuid=UUID, now=NOW)
    asked = ChangePayment(PAYMENT_ID, command, CLAIM, UUID, NOW)
    assert decision == converse(step, (asked, outcome))


def test_what_breaks_under_a_change_is_let_through() -> None:
    step = change_payment(PAYMENT_ID, VOID, claim=CLAIM, uuid=UUID, now=NOW)
    asked = ChangePayment(PAYMENT_ID, VOID, CLAIM, UUID, NOW)
    with pytest.raises(ConnectionError):
        converse(step, (asked, ConnectionError()))


def test_the_reply_to_a_change_carries_the_claim_s_fingerprint_and_the_body() -> None:
    books = born(1000)
    decided = change(
        books.payment, capture(), open_transfers=books.open_transfers, uuid=UUID, now=NOW
    )
    assert isinstance(decided, Change)
    assert StoredReply(CLAIM.fingerprint, 200, decided.body) == decided.reply(CLAIM)
