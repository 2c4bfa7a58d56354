"""Payments: their lifecycle as a table, and making one as a step.

Knows what a payment is, which state may follow which, and in what order a new payment is
claimed, assessed and posted. Must not know HTTP, SQL, clocks or where ids come from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, assert_never

from fluxpay.core import fraud, idempotency, ledger
from fluxpay.core.effects import (
    CountVelocity,
    CountVelocityLocally,
    FindRecord,
    PostPayment,
    Unavailable,
)
from fluxpay.core.events import Event, EventType
from fluxpay.core.idempotency import Expired, Mismatched, Posted, Replayed, StoredReply
from fluxpay.core.ids import IdKind, suffix
from fluxpay.core.problems import Code, FieldError, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from fluxpay.core.effects import Step
    from fluxpay.core.fraud import Rule, Signal
    from fluxpay.core.idempotency import Claim
    from fluxpay.core.money import Money
    from fluxpay.core.tenants import Tenant


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
                Action.REFUND: frozenset({Status.PARTIALLY_REFUNDED, Status.REFUNDED}),
            }
        ),
        Status.CAPTURED: MappingProxyType(
            {Action.REFUND: frozenset({Status.PARTIALLY_REFUNDED, Status.REFUNDED})}
        ),
        Status.PARTIALLY_REFUNDED: MappingProxyType(
            {Action.REFUND: frozenset({Status.PARTIALLY_REFUNDED, Status.REFUNDED})}
        ),
        Status.REFUNDED: MappingProxyType({}),
        Status.VOIDED: MappingProxyType({}),
        Status.EXPIRED: MappingProxyType({}),
    }
)
"""The lifecycle: in this status, this action may lead to one of these. A missing action is
not allowed."""


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


@dataclass(frozen=True, slots=True)
class PaymentFilter:
    """Which payments a list shows; None leaves a property open."""

    status: Status | None = None
    currency: str | None = None
    reference: str | None = None
    created_gte: datetime | None = None
    created_lt: datetime | None = None


@dataclass(frozen=True, slots=True)
class Posting:
    """All that is committed together for a new payment."""

    claim: Claim
    payment: Payment
    transfer: ledger.Transfer
    event: Event
    reply: StoredReply


@dataclass(frozen=True, slots=True)
class Settled:
    """The reply to give, and whether it is a replay."""

    reply: StoredReply
    replayed: bool


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


def instant(moment: datetime) -> str:
    """Write an instant in UTC as RFC 3339 with milliseconds and `Z`."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def create_payment(
    request: PaymentRequest,
    *,
    tenant: Tenant,
    claim: Claim,
    uuid: int,
    now: datetime,
    rules: tuple[Rule, ...] = fraud.RULES,
) -> Step[Settled | Refused]:
    """Make a payment once, however often it is asked for.

    Args:
        request: What the client asks for.
        tenant: Who is paid.
        claim: The idempotency claim of this very request.
        uuid: A fresh UUIDv7 as an integer; the ids of all that is made share it.
        now: The current instant, in UTC.
        rules: The fraud rules, in order.
    """
    refusal = yield from _assess(request, tenant=tenant, now=now, rules=rules)
    if refusal is not None:
        # The payment may exist already: its reply could be lost from the cache while the tenant's
        # currencies and limits moved on. Only then is the database asked before a refusal.
        recorded = yield from FindRecord(claim)
        return refusal if recorded is None else _resume(claim, recorded)
    posting = _posting(request, claim=claim, uuid=uuid, now=now)
    outcome = yield from PostPayment(posting)
    match outcome:
        case Posted():
            return Settled(posting.reply, replayed=False)
        case Replayed(reply):
            return Settled(reply, replayed=True)
        case Mismatched() | Expired():
            return idempotency.refusal(outcome)
        case _:
            assert_never(outcome)


def _assess(
    request: PaymentRequest, *, tenant: Tenant, now: datetime, rules: tuple[Rule, ...]
) -> Step[Refused | None]:
    """Assess a request; velocity is counted last, so a payment refused anyway counts nothing."""
    if request.money.currency not in tenant.spec.currencies:
        return _currency_not_enabled(tenant, request.money.currency)
    limit = tenant.payment_limit(request.money.currency)
    signal = fraud.Signal(
        tenant=tenant,
        money=request.money,
        description=request.description,
        reference=request.reference,
        metadata=request.metadata,
        now=now,
        limit=limit,
    )
    rejection = fraud.assess(signal, rules).rejection
    if rejection is None and limit is not None and limit.counts:
        velocity = yield from _count_velocity(signal, limit)
        rejection = fraud.assess(replace(signal, velocity=velocity), rules).rejection
    return None if rejection is None else _rejected(rejection)


def _count_velocity(signal: Signal, limit: fraud.PaymentLimit) -> Step[fraud.Velocity]:
    velocity = yield from CountVelocity(signal.tenant.id, signal.money, limit)
    if isinstance(velocity, Unavailable):
        velocity = yield from CountVelocityLocally(signal.tenant.id, signal.money, limit)
    return velocity


def _resume(claim: Claim, recorded: StoredReply | Expired) -> Settled | Refused:
    if isinstance(recorded, Expired):
        return idempotency.refusal(recorded)
    match idempotency.settle(claim, recorded):
        case Replayed(reply):
            return Settled(reply, replayed=True)
        case Mismatched() as mismatched:
            return idempotency.refusal(mismatched)


def _posting(request: PaymentRequest, *, claim: Claim, uuid: int, now: datetime) -> Posting:
    # All ids of one payment share a suffix: one UUID is made and encoded instead of three.
    shared = suffix(uuid)
    # Postgres keeps microseconds and the API shows milliseconds; what is not shown is not kept.
    created_at = now.replace(microsecond=now.microsecond // 1000 * 1000)
    payment = Payment(
        id=f"{IdKind.PAYMENT}_{shared}",
        tenant_id=claim.tenant_id,
        money=request.money,
        status=Status.CAPTURED,
        amount_captured_minor=request.money.amount_minor,
        amount_refunded_minor=0,
        capture=request.capture,
        description=request.description,
        reference=request.reference,
        metadata=request.metadata,
        created_at=created_at,
    )
    body = encode(document(payment))
    return Posting(
        claim=claim,
        payment=payment,
        transfer=ledger.capture(
            f"{IdKind.TRANSFER}_{shared}", claim.tenant_id, money=request.money, now=created_at
        ),
        event=Event(
            id=f"{IdKind.EVENT}_{shared}",
            type=EventType.PAYMENT_CAPTURED,
            subject_id=payment.id,
            data=body,
            created_at=created_at,
        ),
        reply=StoredReply(claim.fingerprint, 201, body, location=f"/v1/payments/{payment.id}"),
    )


def encode(data: object) -> bytes:
    """Write a document as compact JSON in UTF-8."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


def _rejected(finding: fraud.Finding) -> Refused:
    return Refused(Code.FRAUD_REJECTED, finding.detail, members=(("rule", finding.rule),))


def _currency_not_enabled(tenant: Tenant, currency: str) -> Refused:
    taken = ", ".join(tenant.spec.currencies)
    return Refused(
        Code.CURRENCY_NOT_ENABLED,
        f"This tenant takes {taken}, not {currency}.",
        errors=(FieldError("#/currency", f"Must be one of {taken}."),),
    )
