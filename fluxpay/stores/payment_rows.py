"""How payments, refunds and entries look as rows. Knows columns and core nouns only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from fluxpay.core.ledger import Direction, Entry, Layer
from fluxpay.core.money import Money
from fluxpay.core.payments import CaptureMode, Payment, Refund, Status

PAYMENT_COLUMNS: Final = """
    id, tenant_id, amount, currency, status, amount_captured, amount_refunded, capture,
    description, reference, metadata, created_at, expires_at
"""
REFUND_COLUMNS: Final = "r.id, r.payment_id, r.amount, r.currency, r.reason, r.created_at"


class _Row(msgspec.Struct, frozen=True):
    """A row of `payments` as Postgres writes it in JSON."""

    id: str
    tenant_id: str
    amount: int
    currency: str
    status: Status
    amount_captured: int
    amount_refunded: int
    capture: CaptureMode
    description: str | None
    reference: str | None
    metadata: dict[str, str]
    created_at: datetime
    expires_at: datetime | None


_ROW_DECODER: Final = msgspec.json.Decoder(_Row)


def payment_of_json(text: str) -> Payment:
    """Read what `read_payment` answers."""
    row = _ROW_DECODER.decode(text)
    return Payment(
        id=row.id,
        tenant_id=row.tenant_id,
        money=Money(row.amount, row.currency),
        status=row.status,
        amount_captured_minor=row.amount_captured,
        amount_refunded_minor=row.amount_refunded,
        capture=row.capture,
        description=row.description,
        reference=row.reference,
        metadata=row.metadata,
        created_at=instant(row.created_at),
        expires_at=None if row.expires_at is None else instant(row.expires_at),
    )


def payment(row: tuple[Any, ...]) -> Payment:
    """Read a row of `PAYMENT_COLUMNS`."""
    return Payment(
        id=row[0],
        tenant_id=row[1],
        money=Money(row[2], row[3]),
        status=Status(row[4]),
        amount_captured_minor=row[5],
        amount_refunded_minor=row[6],
        capture=CaptureMode(row[7]),
        description=row[8],
        reference=row[9],
        metadata=row[10],
        created_at=instant(row[11]),
        expires_at=None if row[12] is None else instant(row[12]),
    )


def refund(row: tuple[Any, ...]) -> Refund:
    """Read a row of `REFUND_COLUMNS`."""
    return Refund(row[0], row[1], Money(row[2], row[3]), row[4], instant(row[5]))


def entry(row: tuple[Any, ...]) -> Entry:
    """Read id, account, direction, amount, currency, created_at and layer of an entry."""
    return Entry(
        id=row[0],
        account_id=row[1],
        direction=Direction(row[2]),
        money=Money(row[3], row[4]),
        created_at=instant(row[5]),
        layer=Layer(row[6]),
    )


def instant(moment: datetime) -> datetime:
    """An instant in UTC, whatever time zone the session is in."""
    return moment.astimezone(UTC)
