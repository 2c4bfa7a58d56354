"""The lifecycle as a table, and the payment's document as clients read it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxpay.core.ids import IdKind
from fluxpay.core.ids import encode as encode_id
from fluxpay.core.money import Money
from fluxpay.core.payments import (
    TRANSITIONS,
    Action,
    CaptureMode,
    Payment,
    Refund,
    Status,
    document,
    encode,
    instant,
    refund_document,
)
from tests.core.examples import NOW, TENANT_ID, UUID

TERMINAL = frozenset({Status.REFUNDED, Status.VOIDED, Status.EXPIRED})
PAYMENT = Payment(
    id=encode_id(IdKind.PAYMENT, UUID),
    tenant_id=TENANT_ID,
    money=Money(1250, "EUR"),
    status=Status.PARTIALLY_REFUNDED,
    amount_captured_minor=1200,
    amount_refunded_minor=200,
    capture=CaptureMode.AUTOMATIC,
    description='A "Käsebrötchen"',
    reference=None,
    metadata={"till": "2"},
    created_at=NOW,
    expires_at=NOW + timedelta(days=7),
)


def test_every_status_is_in_the_table() -> None:
    assert list(Status) != []
    assert set(Status) == set(TRANSITIONS)


def test_the_terminal_statuses_and_no_others_allow_nothing() -> None:
    assert set(TERMINAL) == {status for status, actions in TRANSITIONS.items() if not actions}


def test_every_action_leads_somewhere_and_to_statuses_alone() -> None:
    targets = [
        (action, target)
        for actions in TRANSITIONS.values()
        for action, to in actions.items()
        for target in to
    ]
    assert set(Action) == {action for action, _ in targets}
    assert set(Status) - {Status.AUTHORIZED} == {target for _, target in targets}
    assert [] == [to for actions in TRANSITIONS.values() for to in actions.values() if not to]


def test_no_payment_can_return_to_where_it_has_begun() -> None:
    reached = {
        target for to in TRANSITIONS.values() for targets in to.values() for target in targets
    }
    assert Status.AUTHORIZED not in reached


def test_every_payment_can_end() -> None:
    # From each status some path leads to one where nothing is left to do, or all is captured.
    ends = set(TERMINAL) | {Status.CAPTURED}
    while True:
        more = {
            status
            for status, actions in TRANSITIONS.items()
            if any(targets & ends for targets in actions.values())
        }
        if more <= ends:
            break
        ends |= more
    assert set(Status) == ends


@pytest.mark.parametrize("action", [Action.CAPTURE, Action.VOID, Action.EXPIRE], ids=str)
def test_money_that_was_taken_is_neither_taken_again_nor_let_go(action: Action) -> None:
    taken = (Status.CAPTURED, Status.REFUNDED)
    assert [] == [status for status in taken if action in TRANSITIONS[status]]


@pytest.mark.parametrize(
    ("changed", "open_minor", "refundable_minor", "allowed"),
    [
        pytest.param(
            {},
            50,
            1000,
            {Action.CAPTURE, Action.VOID, Action.EXPIRE, Action.REFUND},
            id="refunded in part while the rest is authorized",
        ),
        pytest.param(
            {"expires_at": None}, 0, 1000, {Action.REFUND}, id="refunded in part, nothing open"
        ),
        pytest.param(
            {"amount_refunded_minor": 1200},
            50,
            0,
            {Action.CAPTURE, Action.VOID, Action.EXPIRE},
            id="all that was captured is refunded, the rest is authorized",
        ),
        pytest.param(
            {
                "status": Status.AUTHORIZED,
                "amount_captured_minor": 0,
                "amount_refunded_minor": 0,
            },
            1250,
            0,
            {Action.CAPTURE, Action.VOID, Action.EXPIRE},
            id="authorized",
        ),
        pytest.param(
            {"status": Status.REFUNDED, "amount_refunded_minor": 1200, "expires_at": None},
            0,
            0,
            set(),
            id="refunded",
        ),
    ],
)
def test_what_is_allowed_follows_from_the_table_and_from_what_is_left(
    changed: dict[str, Any], open_minor: int, refundable_minor: int, allowed: set[Action]
) -> None:
    payment = replace(PAYMENT, **changed)
    assert open_minor == payment.amount_open_minor
    assert refundable_minor == payment.amount_refundable_minor
    assert allowed == set(payment.allowed)


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[Status.VOIDED] = {}  # type: ignore[index]
    with pytest.raises(TypeError):
        TRANSITIONS[Status.CAPTURED][Action.VOID] = frozenset()  # type: ignore[index]


def test_the_document_has_exactly_the_fields_of_the_interface() -> None:
    assert document(PAYMENT) == {
        "id": PAYMENT.id,
        "object": "payment",
        "amount": 1250,
        "currency": "EUR",
        "status": "partially_refunded",
        "amount_captured": 1200,
        "amount_refunded": 200,
        "capture": "automatic",
        "description": 'A "Käsebrötchen"',
        "reference": None,
        "metadata": {"till": "2"},
        "created_at": "2026-03-01T12:30:15.123Z",
        "expires_at": "2026-03-08T12:30:15.123Z",
    }


def test_the_document_of_a_refund_has_exactly_the_fields_of_the_interface() -> None:
    refund = Refund(
        id=encode_id(IdKind.REFUND, UUID),
        payment_id=PAYMENT.id,
        money=Money(200, "EUR"),
        reason=None,
        created_at=NOW,
    )
    assert refund_document(refund) == {
        "id": refund.id,
        "object": "refund",
        "payment_id": PAYMENT.id,
        "amount": 200,
        "currency": "EUR",
        "reason": None,
        "created_at": "2026-03-01T12:30:15.123Z",
    }


def test_a_payment_that_does_not_expire_says_so() -> None:
    assert document(replace(PAYMENT, expires_at=None))["expires_at"] is None


texts = st.text(st.characters(codec="utf-8"), max_size=20)


@given(description=texts, reference=texts, metadata=st.dictionaries(texts, texts, max_size=3))
def test_a_document_is_json_that_reads_back_whatever_clients_wrote(
    description: str, reference: str, metadata: dict[str, str]
) -> None:
    payment = replace(PAYMENT, description=description, reference=reference, metadata=metadata)
    read = json.loads(encode(document(payment)))
    assert document(payment) == read
    assert (description, reference, metadata) == (
        read["description"],
        read["reference"],
        read["metadata"],
    )


def test_json_is_written_without_a_wasted_byte() -> None:
    assert '{"a":[1,null,"é"]}'.encode() == encode({"a": [1, None, "é"]})


instants = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone itself
    max_value=datetime(9999, 1, 1),  # noqa: DTZ001 - as above
    timezones=st.just(UTC),
)


@given(instants)
def test_an_instant_is_written_to_the_millisecond_in_utc(moment: datetime) -> None:
    text = instant(moment)
    assert text.endswith("Z")
    assert moment.replace(microsecond=moment.microsecond // 1000 * 1000) == datetime.fromisoformat(
        text
    )
    assert len("2026-03-01T12:30:15.123Z") == len(text)
