"""Proving payments: status, amounts, refunds, replies and events against the transfers.

The second half of `audit`, about what the ledger was written for. The rules of the lifecycle are
those of `payments` and `payment_changes`; nothing of them is said again here. Must not know SQL.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from fluxpay.core.audit import Finding
from fluxpay.core.events import EventType
from fluxpay.core.ids import IdKind
from fluxpay.core.payment_changes import status_of
from fluxpay.core.payments import CaptureMode, Status, document, instant, refund_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fluxpay.core.audit import TransferRow
    from fluxpay.core.payments import Payment, Refund

RECORD_HOURS: Final = 72
"""How long a reply is kept at least."""

_CREATED: Final = 201
_SUCCESS: Final = range(200, 300)
# What a payment is made with, and keeps.
_LASTING: Final = (
    *("id", "object", "amount", "currency", "capture", "description", "reference", "metadata"),
    "created_at",
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TELLING: Final = {
    "authorization": EventType.PAYMENT_AUTHORIZED,
    "capture": EventType.PAYMENT_CAPTURED,
    "transfer": EventType.TRANSFER_CREATED,
}
_REVERSED_KIND: Final = {"release": "authorization", "refund": "capture"}
_ENDED: Final = {
    Status.VOIDED: EventType.PAYMENT_VOIDED,
    Status.EXPIRED: EventType.PAYMENT_EXPIRED,
}
_TABLES: Final[dict[str, str]] = {
    IdKind.PAYMENT: "payments",
    IdKind.REFUND: "refunds",
    IdKind.TRANSFER: "ledger_transfers",
    IdKind.ACCOUNT: "accounts",
}
# Of these an event carries what the reply said; opening an account is no event.
_TOLD: Final = frozenset({IdKind.PAYMENT, IdKind.REFUND, IdKind.TRANSFER})


@dataclass(frozen=True, slots=True)
class PaymentRow:
    """A payment beside all that follows from it; amounts in minor units.

    Args:
        refunded_minor: By its transfers.
        refund_rows_minor: By its refunds.
        currencies: Of its transfers.
        told: The document that its first event carries, or None without one.
        endings: The types of the events that ended its authorization.
        record_names: What the record of its key says was made, or None without one.
        record_status: The HTTP status in that record.
        is_record_due: Whether the payment is so young that its record must be there.
    """

    payment: Payment
    authorized_minor: int
    released_minor: int
    captured_minor: int
    refunded_minor: int
    refund_rows_minor: int
    currencies: tuple[str, ...]
    told: str | None
    endings: tuple[str, ...]
    record_names: str | None
    record_status: int | None
    is_record_due: bool


@dataclass(frozen=True, slots=True)
class TransferLinks:
    """A transfer, and what it names.

    Args:
        debit_currency: Of the account it debits, or None if there is no such account.
        credit_currency: Likewise of the account it credits.
        is_payment_known: Whether its payment exists; True if it names none.
        reversed_: The transfer it takes back, if there is one.
        reversals_minor: How much other transfers take back of it.
        is_sealed: Whether a seal covers it.
        is_settled: Whether it is so old that one must.
        event_type: Of the event that was written with it, or None without one.
        told: The document that this event carries, where the transfer is a client's.
    """

    transfer: TransferRow
    debit_currency: str | None
    credit_currency: str | None
    is_payment_known: bool
    reversed_: TransferRow | None
    reversals_minor: int
    is_sealed: bool
    is_settled: bool
    event_type: str | None
    told: str | None


@dataclass(frozen=True, slots=True)
class RefundRow:
    """A refund, its payment's currency, and whether its transfer and its event are there."""

    refund: Refund
    payment_currency: str | None
    has_transfer: bool
    told: str | None


@dataclass(frozen=True, slots=True)
class RecordRow:
    """A stored reply.

    Args:
        is_resource_known: Whether what it made exists.
        is_told: Whether an event carries the very same document.
    """

    key: str
    resource_id: str
    status: int
    body: str
    is_resource_known: bool
    is_told: bool


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event, and whether what it tells of exists."""

    id: str
    subject_id: str
    data: str
    is_subject_known: bool


def check_payments(rows: Iterable[PaymentRow]) -> Iterator[Finding]:
    """A payment is what its transfers, refunds, record and events make it."""
    for row in rows:
        faults = (*_amount_faults(row), *_status_faults(row), *_reply_faults(row))
        # The end of an authorization goes with it, and never moves before.
        is_open = row.payment.expires_at is not None
        lasting = (*_LASTING, "expires_at") if is_open else _LASTING
        for wrong in (*faults, *_told_faults(row.told, document(row.payment), lasting)):
            yield Finding("payments", row.payment.id, wrong)


def check_transfers(rows: Iterable[TransferLinks]) -> Iterator[Finding]:
    """A transfer names accounts, payment and reversed transfer that exist and agree with it."""
    for row in rows:
        transfer = row.transfer
        sides = {
            transfer.debit_account_id: row.debit_currency,
            transfer.credit_account_id: row.credit_currency,
        }
        for account_id, currency in sides.items():
            if currency is None:
                wrong = f"is missing, though {transfer.id} moves money of it"
                yield Finding("accounts", account_id, wrong)
            elif currency != transfer.currency:
                wrong = f"is in {currency}, and {transfer.id} in {transfer.currency}"
                yield Finding("accounts", account_id, wrong)
        for wrong in (*_link_faults(row), *_reversal_faults(row)):
            yield Finding("ledger_transfers", transfer.id, wrong)
        telling = _TELLING.get(transfer.kind)
        if telling is not None and row.event_type != telling:
            yield _untold(transfer.id, telling)
        elif telling is EventType.TRANSFER_CREATED:
            shown = _shown(transfer)
            for wrong in _told_faults(row.told, shown, tuple(shown)):
                yield Finding("ledger_transfers", transfer.id, wrong)


def check_refunds(rows: Iterable[RefundRow]) -> Iterator[Finding]:
    """A refund belongs to a payment, moved money, and was told of."""
    for row in rows:
        refund = row.refund
        if row.payment_currency != refund.money.currency:
            wrong = f"is in another currency than {refund.payment_id}, or that does not exist"
            yield Finding("refunds", refund.id, wrong)
        if not row.has_transfer:
            yield Finding("refunds", refund.id, "has no transfer")
        if row.told is None:
            yield _untold(refund.id, EventType.REFUND_CREATED)
        shown = refund_document(refund)
        for wrong in _told_faults(row.told, shown, tuple(shown)):
            yield Finding("refunds", refund.id, wrong)


def check_records(rows: Iterable[RecordRow]) -> Iterator[Finding]:
    """A stored reply names what it made, as the event of the same transaction tells it."""
    for row in rows:
        kind = row.resource_id.partition("_")[0]
        if row.status not in _SUCCESS or kind not in _TABLES:
            continue
        if not row.is_resource_known:
            wrong = f"names {row.resource_id}, which does not exist"
        elif _read(row.body).get("id") != row.resource_id:
            wrong = f"has a body that does not name {row.resource_id}"
        elif kind in _TOLD and not row.is_told:
            wrong = f"has a body that no event of {row.resource_id} carries: one was changed"
        else:
            continue
        yield Finding("idempotency_records", row.key, wrong)


def check_events(rows: Iterable[EventRow]) -> Iterator[Finding]:
    """An event tells of something that exists."""
    for row in rows:
        table = _TABLES.get(row.subject_id.partition("_")[0])
        if table is None:
            continue
        if not row.is_subject_known:
            wrong = f"is missing, though event {row.id} tells of it"
            yield Finding(table, row.subject_id, wrong)
        if _read(row.data).get("id") != row.subject_id:
            yield Finding("events", row.id, f"has data that does not name {row.subject_id}")


def _amount_faults(row: PaymentRow) -> Iterator[str]:
    payment = row.payment
    is_manual = payment.capture is CaptureMode.MANUAL
    first_minor = row.authorized_minor if is_manual else row.captured_minor
    if payment.money.amount_minor != first_minor:
        verb = "authorized" if is_manual else "captured"
        yield f"has amount {payment.money.amount_minor}, and its transfers {verb} {first_minor}"
    pairs = (
        ("amount_captured", payment.amount_captured_minor, row.captured_minor),
        ("amount_refunded", payment.amount_refunded_minor, row.refunded_minor),
    )
    for column, told_minor, moved_minor in pairs:
        if told_minor != moved_minor:
            yield f"has {column} {told_minor}, and its transfers make {moved_minor}"
    if row.refund_rows_minor != row.refunded_minor:
        told = f"refunds of {row.refund_rows_minor}"
        yield f"has {told}, and its transfers gave back {row.refunded_minor}: one was changed"
    if any(currency != payment.money.currency for currency in row.currencies):
        yield f"is in {payment.money.currency}, and its transfers in {', '.join(row.currencies)}"


def _status_faults(row: PaymentRow) -> Iterator[str]:
    payment, open_minor = row.payment, row.authorized_minor - row.released_minor
    is_open = payment.expires_at is not None
    if is_open != (open_minor > 0):
        yield f"{'has' if is_open else 'lacks'} expires_at, and {open_minor} are pending"
    elif payment.amount_open_minor != open_minor:
        yield f"has {payment.amount_open_minor} left to capture, and {open_minor} are pending"
    due = status_of(payment)
    if payment.amount_captured_minor == 0:
        # The amounts alone do not tell a void from an expiry; the event does.
        ended = next((one for one in _ENDED if _ENDED[one] in row.endings), None)
        due = Status.AUTHORIZED if is_open or ended is None else ended
    if payment.status is not due:
        yield f"is {payment.status}, and its transfers and events make it {due}"
    was_ended = not is_open and payment.amount_captured_minor < payment.money.amount_minor
    if len(row.endings) != int(was_ended):
        yield f"has {len(row.endings)} events that end its authorization, not {int(was_ended)}"


def _reply_faults(row: PaymentRow) -> Iterator[str]:
    if row.record_names is None:
        if row.is_record_due:
            yield f"has no idempotency record, and is younger than {RECORD_HOURS} hours"
        return
    if row.record_names != row.payment.id:
        yield f"has a key whose record names {row.record_names}"
    elif row.record_status != _CREATED:
        yield f"has a record with status {row.record_status}"


def _told_faults(
    told: str | None, shown: dict[str, object], names: tuple[str, ...]
) -> Iterator[str]:
    if told is None:
        return
    data = _read(told)
    for name in names:
        if data.get(name) != shown[name]:
            yield f"has another {name} than the event of its making tells"


def _link_faults(row: TransferLinks) -> Iterator[str]:
    if not row.is_payment_known:
        yield f"names {row.transfer.payment_id}, which does not exist"
    if row.is_settled and not row.is_sealed:
        yield "is not sealed, though everything of its time is"
    if row.reversals_minor > row.transfer.amount_minor:
        yield f"moved {row.transfer.amount_minor}, and {row.reversals_minor} of it are taken back"


def _reversal_faults(row: TransferLinks) -> Iterator[str]:
    transfer, before = row.transfer, row.reversed_
    if transfer.reverses is None:
        return
    if before is None:
        yield f"reverses {transfer.reverses}, which does not exist"
        return
    expected = (
        _REVERSED_KIND.get(transfer.kind),
        transfer.payment_id,
        transfer.credit_account_id,
        transfer.debit_account_id,
        transfer.currency,
    )
    sides = (before.debit_account_id, before.credit_account_id)
    if (before.kind, before.payment_id, *sides, before.currency) != expected:
        yield f"is no mirror of {transfer.reverses}, which it reverses"


def _shown(transfer: TransferRow) -> dict[str, object]:
    """What the event of a client's transfer tells of it."""
    created_at = _EPOCH + timedelta(microseconds=int(transfer.created_at_s * 1_000_000))
    return {
        "id": transfer.id,
        "kind": transfer.kind,
        "debit_account_id": transfer.debit_account_id,
        "credit_account_id": transfer.credit_account_id,
        "amount": transfer.amount_minor,
        "currency": transfer.currency,
        "description": transfer.description,
        "created_at": instant(created_at),
    }


def _untold(row_id: str, event_type: EventType) -> Finding:
    # All that one change makes shares the last part of its ids.
    event_id = f"{IdKind.EVENT}_{row_id.partition('_')[2]}"
    return Finding("events", event_id, f"is missing: {event_type} of {row_id}")


def _read(text: str) -> dict[str, object]:
    """The JSON object in a text, or an empty one where there is none."""
    try:
        read = json.loads(text)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}
