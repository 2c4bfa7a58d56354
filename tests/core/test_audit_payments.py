"""The rules of the audit about payments: agreement is silent, and every disagreement is named."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from fluxpay.core.audit import Finding, TransferRow
from fluxpay.core.audit_payments import (
    EventRow,
    PaymentRow,
    RecordRow,
    RefundRow,
    TransferLinks,
    check_events,
    check_payments,
    check_records,
    check_refunds,
    check_transfers,
)
from fluxpay.core.money import Money
from fluxpay.core.payments import (
    CaptureMode,
    Payment,
    Refund,
    Status,
    document,
    encode,
    refund_document,
)
from tests.core.examples import EUROS, NOW, TENANT_ID

PAYMENT = Payment(
    id="pay_1",
    tenant_id=TENANT_ID,
    money=EUROS,
    status=Status.CAPTURED,
    amount_captured_minor=1250,
    amount_refunded_minor=0,
    capture=CaptureMode.AUTOMATIC,
    description="Two coffees",
    reference="order-7",
    metadata={"till": "2"},
    created_at=NOW,
)
CAPTURED = PaymentRow(
    payment=PAYMENT,
    authorized_minor=0,
    released_minor=0,
    captured_minor=1250,
    refunded_minor=0,
    refund_rows_minor=0,
    currencies=("EUR",),
    told=encode(document(PAYMENT)).decode(),
    endings=(),
    record_names="pay_1",
    record_status=201,
    is_record_due=True,
)
MANUAL = replace(
    PAYMENT,
    capture=CaptureMode.MANUAL,
    status=Status.AUTHORIZED,
    amount_captured_minor=0,
    expires_at=NOW + timedelta(days=7),
)
OPEN = replace(
    CAPTURED,
    payment=MANUAL,
    authorized_minor=1250,
    captured_minor=0,
    told=encode(document(MANUAL)).decode(),
)
ENDED = replace(MANUAL, expires_at=None)
SOUND = {
    "captured": CAPTURED,
    "authorized": OPEN,
    "partially captured": replace(
        OPEN,
        payment=replace(MANUAL, status=Status.PARTIALLY_CAPTURED, amount_captured_minor=250),
        captured_minor=250,
        released_minor=250,
    ),
    "voided": replace(
        OPEN,
        payment=replace(ENDED, status=Status.VOIDED),
        released_minor=1250,
        endings=("payment.voided",),
    ),
    "expired": replace(
        OPEN,
        payment=replace(ENDED, status=Status.EXPIRED),
        released_minor=1250,
        endings=("payment.expired",),
    ),
    "captured in part, the rest voided": replace(
        OPEN,
        payment=replace(ENDED, status=Status.CAPTURED, amount_captured_minor=250),
        captured_minor=250,
        released_minor=1250,
        endings=("payment.voided",),
    ),
    "refunded": replace(
        CAPTURED,
        payment=replace(PAYMENT, status=Status.REFUNDED, amount_refunded_minor=1250),
        refunded_minor=1250,
        refund_rows_minor=1250,
    ),
    "old, its record purged": replace(CAPTURED, record_names=None, is_record_due=False),
}


def named(findings: Iterator[Finding]) -> set[tuple[str, str]]:
    return {(finding.table, finding.row_id) for finding in findings}


@pytest.mark.parametrize("row", SOUND.values(), ids=SOUND.keys())
def test_a_payment_that_agrees_with_all_that_follows_from_it_is_no_finding(
    row: PaymentRow,
) -> None:
    assert [] == list(check_payments([row]))


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        (
            replace(CAPTURED, payment=replace(PAYMENT, money=Money(1251, "EUR"))),
            "has amount 1251, and its transfers captured 1250",
        ),
        (
            replace(OPEN, authorized_minor=1300),
            "has amount 1250, and its transfers authorized 1300",
        ),
        (
            replace(CAPTURED, payment=replace(PAYMENT, amount_captured_minor=1249)),
            "has amount_captured 1249, and its transfers make 1250",
        ),
        (
            replace(CAPTURED, refunded_minor=5, refund_rows_minor=5),
            "has amount_refunded 0, and its transfers make 5",
        ),
        (
            replace(CAPTURED, refund_rows_minor=5),
            "has refunds of 5, and its transfers gave back 0: one was changed",
        ),
        (replace(CAPTURED, currencies=("JPY",)), "is in EUR, and its transfers in JPY"),
        (
            replace(OPEN, payment=replace(MANUAL, expires_at=None)),
            "lacks expires_at, and 1250 are pending",
        ),
        (
            replace(CAPTURED, payment=replace(PAYMENT, expires_at=NOW)),
            "has expires_at, and 0 are pending",
        ),
        (
            replace(OPEN, payment=replace(MANUAL, expires_at=NOW + timedelta(days=8))),
            "has another expires_at than the event of its making tells",
        ),
        (replace(OPEN, released_minor=50), "has 1250 left to capture, and 1200 are pending"),
        (
            replace(CAPTURED, payment=replace(PAYMENT, status=Status.REFUNDED)),
            "is refunded, and its transfers and events make it captured",
        ),
        (
            replace(SOUND["voided"], endings=("payment.expired",)),
            "is voided, and its transfers and events make it expired",
        ),
        (replace(SOUND["voided"], endings=()), "has 0 events that end its authorization, not 1"),
        (
            replace(OPEN, endings=("payment.voided",)),
            "has 1 events that end its authorization, not 0",
        ),
        (
            replace(CAPTURED, record_names=None),
            "has no idempotency record, and is younger than 72 hours",
        ),
        (replace(CAPTURED, record_names="pay_2"), "has a key whose record names pay_2"),
        (replace(CAPTURED, record_status=200), "has a record with status 200"),
        (
            replace(CAPTURED, payment=replace(PAYMENT, reference="order-8")),
            "has another reference than the event of its making tells",
        ),
        (replace(CAPTURED, told="[]"), "has another id than the event of its making tells"),
        (replace(CAPTURED, told="{"), "has another id than the event of its making tells"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_a_payment_that_disagrees_is_named_with_what_is_wrong(row: PaymentRow, wrong: str) -> None:
    assert Finding("payments", "pay_1", wrong) in list(check_payments([row]))


def transfer(kind: str, id_: str = "trf_1", *, reverses: str | None = None) -> TransferRow:
    is_back = reverses is not None
    return TransferRow(
        tenant_id=TENANT_ID,
        id=id_,
        kind=kind,
        layer="posted",
        payment_id="pay_1",
        debit_account_id="acc_m" if is_back else "acc_p",
        credit_account_id="acc_p" if is_back else "acc_m",
        amount_minor=100,
        currency="EUR",
        created_at_s=Decimal(1),
        reverses=reverses,
        description=None,
    )


TAKEN = TransferLinks(
    transfer=transfer("capture"),
    debit_currency="EUR",
    credit_currency="EUR",
    is_payment_known=True,
    reversed_=None,
    reversals_minor=100,
    is_sealed=True,
    is_settled=True,
    event_type="payment.captured",
    told=None,
)
GIVEN_BACK = replace(
    TAKEN,
    transfer=transfer("refund", "trf_2", reverses="trf_1"),
    reversed_=transfer("capture"),
    reversals_minor=0,
    event_type=None,
)


BOOKED = replace(transfer("transfer"), payment_id=None, description="November")
TOLD = {
    "id": "trf_1",
    "object": "transfer",
    "kind": "transfer",
    "debit_account_id": "acc_p",
    "credit_account_id": "acc_m",
    "amount": 100,
    "currency": "EUR",
    "description": "November",
    "created_at": "1970-01-01T00:00:01.000Z",
}
MOVED = replace(
    TAKEN,
    transfer=BOOKED,
    reversals_minor=0,
    event_type="transfer.created",
    told=json.dumps(TOLD),
)


def test_transfers_that_name_what_exists_are_no_finding() -> None:
    unsealed = replace(TAKEN, is_sealed=False, is_settled=False)
    assert [] == list(check_transfers([TAKEN, GIVEN_BACK, unsealed, MOVED]))


@pytest.mark.parametrize("name", [name for name in TOLD if name != "object"])
def test_a_clients_transfer_that_its_event_tells_otherwise_is_named(name: str) -> None:
    otherwise = replace(MOVED, told=json.dumps(TOLD | {name: "another"}))
    wrong = f"has another {name} than the event of its making tells"
    assert [Finding("ledger_transfers", "trf_1", wrong)] == list(check_transfers([otherwise]))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (replace(TAKEN, debit_currency=None), ("accounts", "acc_p")),
        (replace(TAKEN, credit_currency=None), ("accounts", "acc_m")),
        (replace(TAKEN, credit_currency="JPY"), ("accounts", "acc_m")),
        (replace(TAKEN, is_payment_known=False), ("ledger_transfers", "trf_1")),
        (replace(TAKEN, is_sealed=False), ("ledger_transfers", "trf_1")),
        (replace(TAKEN, reversals_minor=101), ("ledger_transfers", "trf_1")),
        (replace(TAKEN, event_type=None), ("events", "evt_1")),
        (replace(TAKEN, event_type="payment.voided"), ("events", "evt_1")),
        (replace(GIVEN_BACK, reversed_=None), ("ledger_transfers", "trf_2")),
        (
            replace(GIVEN_BACK, reversed_=transfer("authorization")),
            ("ledger_transfers", "trf_2"),
        ),
        (
            replace(GIVEN_BACK, reversed_=replace(transfer("capture"), payment_id="pay_2")),
            ("ledger_transfers", "trf_2"),
        ),
        (
            replace(GIVEN_BACK, reversed_=replace(transfer("capture"), debit_account_id="acc_x")),
            ("ledger_transfers", "trf_2"),
        ),
    ],
)
def test_a_transfer_that_names_what_does_not_fit_is_found(
    row: TransferLinks, expected: tuple[str, str]
) -> None:
    assert {expected} == named(check_transfers([row]))


def test_an_account_that_is_gone_is_told_from_one_of_another_currency() -> None:
    gone = Finding("accounts", "acc_p", "is missing, though trf_1 moves money of it")
    assert [gone] == list(check_transfers([replace(TAKEN, debit_currency=None)]))


REFUND = Refund("re_1", "pay_1", Money(100, "EUR"), "too cold", NOW)
REFUNDED = RefundRow(
    REFUND,
    payment_currency="EUR",
    has_transfer=True,
    told=encode(refund_document(REFUND)).decode(),
)


def test_a_refund_that_moved_money_and_was_told_of_is_no_finding() -> None:
    assert [] == list(check_refunds([REFUNDED]))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (replace(REFUNDED, payment_currency=None), ("refunds", "re_1")),
        (replace(REFUNDED, payment_currency="JPY"), ("refunds", "re_1")),
        (replace(REFUNDED, has_transfer=False), ("refunds", "re_1")),
        (replace(REFUNDED, told=None), ("events", "evt_1")),
        (replace(REFUNDED, refund=replace(REFUND, reason="wet")), ("refunds", "re_1")),
        (replace(REFUNDED, refund=replace(REFUND, money=Money(9, "EUR"))), ("refunds", "re_1")),
    ],
)
def test_a_refund_that_does_not_fit_is_found(row: RefundRow, expected: tuple[str, str]) -> None:
    assert {expected} == named(check_refunds([row]))


RECORD = RecordRow("k-1", "pay_1", 201, '{"id":"pay_1"}', is_resource_known=True, is_told=True)


def test_a_record_of_what_exists_and_was_told_is_no_finding() -> None:
    refusal = replace(RECORD, status=422, body="{}", is_told=False)
    account = replace(RECORD, resource_id="acc_1", body='{"id":"acc_1"}', is_told=False)
    assert [] == list(check_records([RECORD, refusal, account]))


@pytest.mark.parametrize(
    "row",
    [
        replace(RECORD, is_resource_known=False),
        replace(RECORD, body='{"id":"pay_2"}'),
        replace(RECORD, body="not json"),
        replace(RECORD, is_told=False),
        replace(RECORD, resource_id="trf_1", body='{"id":"trf_1"}', is_told=False),
    ],
)
def test_a_record_that_does_not_fit_is_found_by_its_key(row: RecordRow) -> None:
    assert {("idempotency_records", "k-1")} == named(check_records([row]))


EVENT = EventRow("evt_1", "re_1", json.dumps({"id": "re_1"}), is_subject_known=True)


def test_an_event_that_tells_of_what_exists_is_no_finding() -> None:
    unknown_kind = replace(EVENT, subject_id="xyz_1", is_subject_known=False)
    assert [] == list(check_events([EVENT, unknown_kind]))


def test_what_an_event_tells_of_and_is_not_there_is_named_by_its_table() -> None:
    assert {("refunds", "re_1")} == named(check_events([replace(EVENT, is_subject_known=False)]))


def test_an_event_whose_data_tells_of_another_is_named() -> None:
    assert {("events", "evt_1")} == named(check_events([replace(EVENT, data='{"id":"re_2"}')]))
