"""Payments: what one is, and its lifecycle as a table.

Knows which action may follow which state, and how a payment and a refund look to a client. How
a payment is made stands in `payment_creation`, how it changes in `payment_changes`. Must not know
HTTP, SQL, clocks or where ids come from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from fluxpay.core.money import Money


class Status(StrEnum):
    """Where a payment is in its life."""

    AUTHORIZED = "authorized"
    PARTIALLY_CAPTURED = "partially_captured"
    CAPTURED = "captured"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"
    VOIDED = "voided"
    EXPIRED = "expired"


class Action(StrEnum):
    """What can be done to a payment."""

    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"
    EXPIRE = "expire"


class CaptureMode(StrEnum):
    """When the money is taken: at once, or by a later capture."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"


_REFUNDED: Final = frozenset({Status.PARTIALLY_REFUNDED, Status.REFUNDED})

TRANSITIONS: Final[Mapping[Status, Mapping[Action, frozenset[Status]]]] = MappingProxyType(
    {
        Status.AUTHORIZED: MappingProxyType(
            {
                Action.CAPTURE: frozenset({Status.PARTIALLY_CAPTURED, Status.CAPTURED}),
                Action.VOID: frozenset({Status.VOIDED}),
                Action.EXPIRE: frozenset({Status.EXPIRED}),
            }
        ),
        Status.PARTIALLY_CAPTURED: MappingProxyType(
            {
                Action.CAPTURE: frozenset({Status.PARTIALLY_CAPTURED, Status.CAPTURED}),
                # What was captured stays; a void or an expiry releases the rest.
                Action.VOID: frozenset({Status.CAPTURED}),
                Action.EXPIRE: frozenset({Status.CAPTURED}),
                Action.REFUND: frozenset({Status.PARTIALLY_REFUNDED}),
            }
        ),
        Status.CAPTURED: MappingProxyType({Action.REFUND: _REFUNDED}),
        Status.PARTIALLY_REFUNDED: MappingProxyType(
            {
                # A part was given back while the rest is still authorized: goods that ship in
                # parcels come back in parcels. Only while the authorization is open.
                Action.CAPTURE: frozenset({Status.PARTIALLY_REFUNDED}),
                Action.VOID: _REFUNDED,
                Action.EXPIRE: _REFUNDED,
                Action.REFUND: _REFUNDED,
            }
        ),
        Status.REFUNDED: MappingProxyType({}),
        Status.VOIDED: MappingProxyType({}),
        Status.EXPIRED: MappingProxyType({}),
    }
)
"""The lifecycle: in this status, this action may lead to one of these. A missing action is
not allowed."""

AUTHORIZATION_DAYS: Final = 7
"""How long an authorization stays open when nobody captures or voids it."""

# Made once: `json.dumps` makes one a call. A document is a tree, so no circle is looked for.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """What a client asks for.

    Args:
        reference: The client's own name for it, such as an order number.
        metadata: The client's own notes; never looked into.
    """

    money: Money
    capture: CaptureMode = CaptureMode.AUTOMATIC
    description: str | None = None
    reference: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment as it is; amounts in minor units of its currency."""

    id: str
    tenant_id: str
    money: Money
    status: Status
    amount_captured_minor: int
    amount_refunded_minor: int
    capture: CaptureMode
    description: str | None
    reference: str | None
    metadata: Mapping[str, str]
    created_at: datetime
    expires_at: datetime | None = None
    """When what is left of the authorization is released; None when nothing of it is left."""

    @property
    def amount_open_minor(self) -> int:
        """What may still be captured."""
        if self.expires_at is None:
            return 0
        return self.money.amount_minor - self.amount_captured_minor

    @property
    def amount_refundable_minor(self) -> int:
        """What may still be refunded."""
        return self.amount_captured_minor - self.amount_refunded_minor

    @property
    def allowed(self) -> tuple[Action, ...]:
        """What can be done to this payment now; expiry comes by itself."""
        left = {Action.REFUND: self.amount_refundable_minor}
        return tuple(
            action
            for action in TRANSITIONS[self.status]
            if left.get(action, self.amount_open_minor) > 0
        )


@dataclass(frozen=True, slots=True)
class Refund:
    """Money of a payment that was given back."""

    id: str
    payment_id: str
    money: Money
    reason: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PaymentFilter:
    """Which payments a list shows; None leaves a property open."""

    status: Status | None = None
    currency: str | None = None
    reference: str | None = None
    created_gte: datetime | None = None
    created_lt: datetime | None = None


def document(payment: Payment) -> dict[str, object]:
    """The payment as clients see it."""
    return {
        "id": payment.id,
        "object": "payment",
        "amount": payment.money.amount_minor,
        "currency": payment.money.currency,
        "status": payment.status,
        "amount_captured": payment.amount_captured_minor,
        "amount_refunded": payment.amount_refunded_minor,
        "capture": payment.capture,
        "description": payment.description,
        "reference": payment.reference,
        "metadata": dict(payment.metadata),
        "created_at": instant(payment.created_at),
        "expires_at": None if payment.expires_at is None else instant(payment.expires_at),
    }


def refund_document(refund: Refund) -> dict[str, object]:
    """The refund as clients see it."""
    return {
        "id": refund.id,
        "object": "refund",
        "payment_id": refund.payment_id,
        "amount": refund.money.amount_minor,
        "currency": refund.money.currency,
        "reason": refund.reason,
        "created_at": instant(refund.created_at),
    }


def to_milliseconds(moment: datetime) -> datetime:
    """Cut an instant to what the API shows: what is not shown is not kept."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def instant(moment: datetime) -> str:
    """Write an instant in UTC as RFC 3339 with milliseconds and `Z`."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def encode(data: object) -> bytes:
    """Write a document as compact JSON in UTF-8."""
    return _ENCODER.encode(data).encode()
