"""Payments to post: what the core hands to the store, made by the core itself."""

from datetime import UTC, datetime

import uuid_utils

from fluxpay.core.effects import PostPayment
from fluxpay.core.idempotency import Claim, fingerprint
from fluxpay.core.ids import IdKind, encode
from fluxpay.core.money import Money
from fluxpay.core.payment_creation import Posting, create_payment
from fluxpay.core.payments import CaptureMode, PaymentRequest
from fluxpay.core.tenants import Environment, Tenant, TenantSpec, TenantState


def tenant_id() -> str:
    return encode(IdKind.TENANT, uuid_utils.uuid7().int)


def posting(
    tenant: str,
    key: str,
    *,
    amount_minor: int = 1250,
    currency: str = "EUR",
    reference: str | None = None,
    capture: CaptureMode = CaptureMode.AUTOMATIC,
    now: datetime | None = None,
) -> Posting:
    """What `create_payment` would have committed for this request."""
    spec = TenantSpec(
        generation=1,
        display_name="Kiosk",
        environment=Environment.TEST,
        state=TenantState.ACTIVE,
        currencies=(currency,),
    )
    moment = now or datetime.now(UTC)
    request = PaymentRequest(
        Money(amount_minor, currency),
        capture=capture,
        reference=reference,
        metadata={"note": 'it\'s 100 % \\ "ok"'},
    )
    step = create_payment(
        request,
        tenant=Tenant(id=tenant, spec=spec, created_at=moment),
        claim=Claim(tenant, key, fingerprint("POST", "/v1/payments", repr(request).encode())),
        uuid=uuid_utils.uuid7().int,
        now=moment,
    )
    effect = next(step)
    assert isinstance(effect, PostPayment)
    return effect.posting
