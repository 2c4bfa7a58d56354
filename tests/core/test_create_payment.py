"""`create_payment` as a conversation: who is asked, in which order, and what comes of it.

The conversations are written out in full, so a step that asks Redis or Postgres once more than it
must, or assesses a payment after posting it, does not pass.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxpay.core.effects import (
    CountVelocity,
    CountVelocityLocally,
    FindRecord,
    PostPayment,
    Step,
    Unavailable,
)
from fluxpay.core.events import Event, EventType
from fluxpay.core.fraud import RULES, Finding, PaymentLimit, Rule, Signal, Velocity
from fluxpay.core.idempotency import (
    Expired,
    Mismatched,
    Posted,
    Replayed,
    Settled,
    StoredReply,
    refusal,
)
from fluxpay.core.ids import suffix
from fluxpay.core.ledger import authorize, capture
from fluxpay.core.money import EXPONENTS, Money
from fluxpay.core.payment_creation import Posting, create_payment
from fluxpay.core.payments import CaptureMode, Payment, PaymentRequest, Status, document, encode
from fluxpay.core.problems import Code, FieldError, Refused
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

CLAIM = claim()
REQUEST = payment_request()
LIMIT = PaymentLimit("EUR", max_amount_minor=2000, velocity_count=3, velocity_window_s=60)
TENANT = tenant()
LIMITED = tenant(tenant_spec(payment_limits=(LIMIT,)))
EARLIER = StoredReply(CLAIM.fingerprint, 201, b"earlier", location="/v1/payments/pay_1")
OF_ANOTHER = StoredReply("0" * 64, 201, b"of another")

COUNT = CountVelocity(TENANT_ID, EUROS, LIMIT)
COUNT_HERE = CountVelocityLocally(TENANT_ID, EUROS, LIMIT)
FIND = FindRecord(CLAIM)
FEW, MANY = Velocity(3, 3750), Velocity(4, 5000)
NO_REDIS = Unavailable("redis")


def creating(
    request: PaymentRequest = REQUEST,
    whose: Tenant = TENANT,
    *,
    uuid: int = UUID,
    now: datetime = NOW,
    rules: tuple[Rule, ...] = RULES,
) -> Step[Settled | Refused]:
    return create_payment(request, tenant=whose, claim=CLAIM, uuid=uuid, now=now, rules=rules)


def posting() -> Posting:
    """What the example request commits, written out once and independently."""
    shown = NOW.replace(microsecond=123000)
    payment = Payment(
        id=f"pay_{suffix(UUID)}",
        tenant_id=TENANT_ID,
        money=EUROS,
        status=Status.CAPTURED,
        amount_captured_minor=1250,
        amount_refunded_minor=0,
        capture=CaptureMode.AUTOMATIC,
        description="Two coffees",
        reference="order-7",
        metadata={"till": "2"},
        created_at=shown,
    )
    body = encode(document(payment))
    return Posting(
        claim=CLAIM,
        payment=payment,
        transfer=capture(f"trf_{suffix(UUID)}", TENANT_ID, money=EUROS, now=shown),
        event=Event(
            id=f"evt_{suffix(UUID)}",
            type=EventType.PAYMENT_CAPTURED,
            subject_id=payment.id,
            data=body,
            created_at=shown,
        ),
        reply=StoredReply(CLAIM.fingerprint, 201, body, location=f"/v1/payments/{payment.id}"),
    )


POST = PostPayment(posting())
DONE = Settled(posting().reply, replayed=False)
REJECTED_FOR_AMOUNT = Refused(
    Code.FRAUD_REJECTED,
    "A single payment may be at most 20.00 EUR.",
    members=(("rule", "amount_threshold"),),
)
REJECTED_FOR_VELOCITY = Refused(
    Code.FRAUD_REJECTED,
    "At most 3 payments in EUR are taken in 60 s.",
    members=(("rule", "velocity"),),
)
NOT_ENABLED = Refused(
    Code.CURRENCY_NOT_ENABLED,
    "This tenant takes EUR, JPY, not USD.",
    errors=(FieldError("#/currency", "Must be one of EUR, JPY."),),
)
DOLLARS = payment_request(Money(1250, "USD"))
TOO_MUCH = payment_request(Money(2001, "EUR"))


def test_a_payment_without_limits_is_one_question_to_the_database() -> None:
    assert DONE == converse(creating(), (POST, Posted()))


@pytest.mark.parametrize(
    ("outcome", "decision"),
    [
        (Posted(), DONE),
        (Replayed(EARLIER), Settled(EARLIER, replayed=True)),
        (Mismatched(), refusal(Mismatched())),
        (Expired("pay_1"), refusal(Expired("pay_1"))),
    ],
)
def test_the_database_has_the_last_word(outcome: object, decision: Settled | Refused) -> None:
    assert decision == converse(creating(), (POST, outcome))


def test_a_limited_payment_is_counted_before_it_is_posted() -> None:
    assert DONE == converse(creating(whose=LIMITED), (COUNT, FEW), (POST, Posted()))


def test_without_redis_this_process_counts_alone() -> None:
    step = creating(whose=LIMITED)
    assert DONE == converse(step, (COUNT, NO_REDIS), (COUNT_HERE, FEW), (POST, Posted()))
    step = creating(whose=LIMITED)
    decision = converse(step, (COUNT, NO_REDIS), (COUNT_HERE, MANY), (FIND, None))
    assert REJECTED_FOR_VELOCITY == decision


def test_a_limit_that_counts_nothing_asks_nobody() -> None:
    amount_alone = tenant(tenant_spec(payment_limits=(PaymentLimit("EUR", 2000),)))
    assert DONE == converse(creating(whose=amount_alone), (POST, Posted()))


def test_the_limit_of_another_currency_does_not_hold() -> None:
    other = tenant(tenant_spec(payment_limits=(PaymentLimit("JPY", 1, velocity_count=1),)))
    assert DONE == converse(creating(whose=other), (POST, Posted()))


# Each way to be refused, and the questions that come before the database is asked for a record.
REFUSALS = [
    pytest.param(DOLLARS, TENANT, (), NOT_ENABLED, id="a currency not enabled"),
    pytest.param(
        payment_request(Money(5000, "USD")),
        tenant(tenant_spec(payment_limits=(PaymentLimit("USD", 1, velocity_count=1),))),
        (),
        NOT_ENABLED,
        id="a currency not enabled, before any limit",
    ),
    pytest.param(
        TOO_MUCH,
        LIMITED,
        (),
        REJECTED_FOR_AMOUNT,
        id="an amount too large, which counts no velocity",
    ),
    pytest.param(REQUEST, LIMITED, ((COUNT, MANY),), REJECTED_FOR_VELOCITY, id="too many"),
]
RECORDS = [
    pytest.param(EARLIER, Settled(EARLIER, replayed=True), id="the payment exists"),
    pytest.param(OF_ANOTHER, refusal(Mismatched()), id="the key was another request's"),
    pytest.param(Expired("pay_1"), refusal(Expired("pay_1")), id="the payment is old"),
]


@pytest.mark.parametrize(("request_", "whose", "asked", "refused"), REFUSALS)
def test_a_refused_payment_is_looked_for_and_never_posted(
    request_: PaymentRequest,
    whose: Tenant,
    asked: tuple[Exchange, ...],
    refused: Refused,
) -> None:
    assert refused == converse(creating(request_, whose), *asked, (FIND, None))


@pytest.mark.parametrize(("request_", "whose", "asked", "refused"), REFUSALS)
@pytest.mark.parametrize(("recorded", "decision"), RECORDS)
def test_a_payment_that_exists_is_never_refused_on_a_retry(
    request_: PaymentRequest,
    whose: Tenant,
    asked: tuple[Exchange, ...],
    refused: Refused,
    recorded: object,
    decision: object,
) -> None:
    del refused  # What exists outweighs it.
    assert decision == converse(creating(request_, whose), *asked, (FIND, recorded))


@dataclass(frozen=True, slots=True)
class NoCoffee:
    """A rule of somebody else."""

    name: str = "no_coffee"

    def evaluate(self, signal: Signal) -> Finding | None:
        found = "coffee" in (signal.description or "")
        return Finding(self.name, "No coffee.") if found else None


def test_a_rule_of_others_is_asked_with_the_built_in_ones() -> None:
    step = creating(whose=LIMITED, rules=(*RULES, NoCoffee()))
    assert converse(step, (FIND, None)) == Refused(
        Code.FRAUD_REJECTED, "No coffee.", members=(("rule", "no_coffee"),)
    )


@dataclass(frozen=True, slots=True)
class SeesAll:
    """A rule that notes what it is shown."""

    seen: list[Signal]
    name: str = "sees_all"

    def evaluate(self, signal: Signal) -> Finding | None:
        self.seen.append(signal)
        return None


def test_a_rule_sees_the_whole_signal_first_without_and_then_with_the_velocity() -> None:
    seen: list[Signal] = []
    step = creating(whose=LIMITED, rules=(SeesAll(seen),))
    converse(step, (COUNT, FEW), (POST, Posted()))
    signal = Signal(
        tenant=LIMITED,
        money=EUROS,
        description="Two coffees",
        reference="order-7",
        metadata={"till": "2"},
        now=NOW,
        limit=LIMIT,
    )
    assert [signal, replace(signal, velocity=FEW)] == seen


@pytest.mark.parametrize("broken", [(COUNT,), (COUNT, POST)], ids=["counting", "posting"])
def test_what_breaks_under_a_step_is_let_through(broken: tuple[CountVelocity, ...]) -> None:
    *before, last = broken
    exchanges: list[Exchange] = [(effect, FEW) for effect in before]
    with pytest.raises(ConnectionError):
        converse(creating(whose=LIMITED), *exchanges, (last, ConnectionError()))


def test_a_rule_that_raises_posts_nothing() -> None:
    class Broken:
        name = "broken"

        def evaluate(self, signal: Signal) -> Finding | None:
            raise LookupError(signal.money.currency)

    with pytest.raises(LookupError):
        converse(creating(rules=(Broken(),)))


# ---- the laws of what is posted -----------------------------------------------------------------

moneys = st.builds(
    Money, st.integers(min_value=1, max_value=2**53 - 1), st.sampled_from(["EUR", "JPY"])
)
uuids = st.integers(min_value=0, max_value=2**128 - 1)
delays = st.integers(min_value=0, max_value=10**12).map(lambda us: timedelta(microseconds=us))


def posted(request: PaymentRequest, uuid: int, now: datetime) -> Posting:
    effect = next(creating(request, uuid=uuid, now=now))
    assert isinstance(effect, PostPayment)
    return effect.posting


@given(money=moneys, uuid=uuids, delay=delays)
def test_all_that_is_posted_together_belongs_together(
    money: Money, uuid: int, delay: timedelta
) -> None:
    made = posted(payment_request(money), uuid, NOW + delay)
    ids = {made.payment.id[4:], made.transfer.id[4:], made.event.id[4:]}
    assert {suffix(uuid)} == ids
    assert ("pay_", "trf_", "evt_") == tuple(
        one.id[:4] for one in (made.payment, made.transfer, made.event)
    )
    assert CLAIM == made.claim
    assert money == made.payment.money == made.transfer.money
    assert TENANT_ID == made.payment.tenant_id == made.transfer.credit.tenant_id
    assert made.payment.created_at == made.transfer.created_at == made.event.created_at
    assert made.payment.id == made.event.subject_id


@given(money=moneys, uuid=uuids, delay=delays)
def test_the_reply_and_the_event_hold_the_document_that_a_read_would_show(
    money: Money, uuid: int, delay: timedelta
) -> None:
    made = posted(payment_request(money), uuid, NOW + delay)
    assert document(made.payment) == json.loads(made.reply.body)
    assert made.reply.body == made.event.data
    assert (201, CLAIM.fingerprint) == (made.reply.status, made.reply.fingerprint)
    assert f"/v1/payments/{made.payment.id}" == made.reply.location


@given(money=moneys)
def test_an_automatic_payment_is_captured_in_full(money: Money) -> None:
    payment = posted(payment_request(money), UUID, NOW).payment
    assert Status.CAPTURED is payment.status
    assert (money.amount_minor, 0) == (
        payment.amount_captured_minor,
        payment.amount_refunded_minor,
    )
    assert payment.expires_at is None


@given(money=moneys, uuid=uuids, delay=delays)
def test_a_payment_to_be_captured_by_hand_sets_the_money_aside_for_a_week(
    money: Money, uuid: int, delay: timedelta
) -> None:
    request = replace(payment_request(money), capture=CaptureMode.MANUAL)
    made = posted(request, uuid, NOW + delay)
    payment = made.payment
    assert (Status.AUTHORIZED, CaptureMode.MANUAL) == (payment.status, payment.capture)
    assert (0, 0, money.amount_minor) == (
        payment.amount_captured_minor,
        payment.amount_refunded_minor,
        payment.amount_open_minor,
    )
    assert payment.created_at + timedelta(days=7) == payment.expires_at
    assert made.transfer == authorize(
        f"trf_{suffix(uuid)}", TENANT_ID, money=money, now=payment.created_at
    )
    assert EventType.PAYMENT_AUTHORIZED is made.event.type
    assert document(payment) == json.loads(made.reply.body)


@given(currency=st.sampled_from(sorted(EXPONENTS)))
def test_a_payment_is_posted_only_in_a_currency_of_the_tenant(currency: str) -> None:
    effect = next(creating(payment_request(Money(1, currency))))
    assert isinstance(effect, PostPayment) is (currency in TENANT.spec.currencies)
