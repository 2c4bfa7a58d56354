"""Making a payment: claimed once, assessed for fraud, posted in one transaction.

Knows the order of it: fraud is assessed before anything is written, and a refusal asks the
database first whether the claim already has an answer. Must not know HTTP, SQL, clocks or where
ids come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, assert_never

from fluxpay.core import fraud, idempotency, ledger
from fluxpay.core.effects import (
    CountVelocity,
    CountVelocityLocally,
    FindRecord,
    PostPayment,
    Unavailable,
)
from fluxpay.core.events import Event, EventType
from fluxpay.core.idempotency import (
    Expired,
    Mismatched,
    Posted,
    Replayed,
    Settled,
    StoredReply,
)
from fluxpay.core.ids import IdKind, suffix
from fluxpay.core.payments import (
    AUTHORIZATION_DAYS,
    CaptureMode,
    Payment,
    Status,
    document,
    encode,
    to_milliseconds,
)
from fluxpay.core.problems import Code, FieldError, Refused

if TYPE_CHECKING:
    from datetime import datetime

    from fluxpay.core.effects import Step
    from fluxpay.core.fraud import Rule
    from fluxpay.core.idempotency import Claim
    from fluxpay.core.payments import PaymentRequest
    from fluxpay.core.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Posting:
    """All that is committed together for a new payment."""

    claim: Claim
    payment: Payment
    transfer: ledger.Transfer
    event: Event
    reply: StoredReply


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

    def signal(velocity: fraud.Velocity | None) -> fraud.Signal:
        return fraud.Signal(
            tenant=tenant,
            money=request.money,
            description=request.description,
            reference=request.reference,
            metadata=request.metadata,
            now=now,
            limit=limit,
            velocity=velocity,
        )

    rejection = fraud.assess(signal(None), rules).rejection
    if rejection is None and limit is not None and limit.counts:
        velocity = yield from CountVelocity(tenant.id, request.money, limit)
        if isinstance(velocity, Unavailable):
            velocity = yield from CountVelocityLocally(tenant.id, request.money, limit)
        rejection = fraud.assess(signal(velocity), rules).rejection
    return None if rejection is None else _rejected(rejection)


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
    created_at = to_milliseconds(now)
    is_captured = request.capture is CaptureMode.AUTOMATIC
    payment = Payment(
        id=f"{IdKind.PAYMENT}_{shared}",
        tenant_id=claim.tenant_id,
        money=request.money,
        status=Status.CAPTURED if is_captured else Status.AUTHORIZED,
        amount_captured_minor=request.money.amount_minor if is_captured else 0,
        amount_refunded_minor=0,
        capture=request.capture,
        description=request.description,
        reference=request.reference,
        metadata=request.metadata,
        created_at=created_at,
        expires_at=None if is_captured else created_at + timedelta(days=AUTHORIZATION_DAYS),
    )
    body = encode(document(payment))
    move = ledger.capture if is_captured else ledger.authorize
    return Posting(
        claim=claim,
        payment=payment,
        transfer=move(
            f"{IdKind.TRANSFER}_{shared}", claim.tenant_id, money=request.money, now=created_at
        ),
        event=Event(
            id=f"{IdKind.EVENT}_{shared}",
            type=EventType.PAYMENT_CAPTURED if is_captured else EventType.PAYMENT_AUTHORIZED,
            subject_id=payment.id,
            data=body,
            created_at=created_at,
        ),
        reply=StoredReply(claim.fingerprint, 201, body, location=f"/v1/payments/{payment.id}"),
    )


def _rejected(finding: fraud.Finding) -> Refused:
    return Refused(Code.FRAUD_REJECTED, finding.detail, members=(("rule", finding.rule),))


def _currency_not_enabled(tenant: Tenant, currency: str) -> Refused:
    taken = ", ".join(tenant.spec.currencies)
    return Refused(
        Code.CURRENCY_NOT_ENABLED,
        f"This tenant takes {taken}, not {currency}.",
        errors=(FieldError("#/currency", f"Must be one of {taken}."),),
    )
