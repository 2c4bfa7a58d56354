"""Values to test with: a tenant, its key, a request, and what is made of them.

Plain functions over the core's own nouns; each test changes the one thing that it is about.
"""

from datetime import UTC, datetime
from typing import Final

from fluxpay.core.credentials import digest, mint, shown_prefix
from fluxpay.core.fraud import PaymentLimit
from fluxpay.core.idempotency import Claim, fingerprint
from fluxpay.core.ids import IdKind, encode
from fluxpay.core.keys import ApiKey, Scope
from fluxpay.core.limits import Quota
from fluxpay.core.money import Money
from fluxpay.core.payments import PaymentRequest
from fluxpay.core.tenants import Environment, Tenant, TenantSpec, TenantState

NOW: Final = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
UUID: Final = 0x0195_50E4_7C63_7ABC_8DEF_0123_4567_89AB
TENANT_ID: Final = encode(IdKind.TENANT, UUID - 1)
KEY_ID: Final = encode(IdKind.KEY, UUID - 2)
TOKEN: Final = mint(Environment.TEST, KEY_ID, bytes(range(24)))
EUROS: Final = Money(1250, "EUR")


def tenant_spec(
    *,
    generation: int = 1,
    environment: Environment = Environment.TEST,
    state: TenantState = TenantState.ACTIVE,
    currencies: tuple[str, ...] = ("EUR", "JPY"),
    rate_limits: tuple[Quota, ...] = (),
    payment_limits: tuple[PaymentLimit, ...] = (),
) -> TenantSpec:
    return TenantSpec(
        generation=generation,
        display_name="Kiosk",
        environment=environment,
        state=state,
        currencies=currencies,
        rate_limits=rate_limits,
        payment_limits=payment_limits,
    )


def tenant(spec: TenantSpec | None = None, *, closed_at: datetime | None = None) -> Tenant:
    return Tenant(id=TENANT_ID, spec=spec or tenant_spec(), created_at=NOW, closed_at=closed_at)


def api_key(
    *,
    token: str = TOKEN,
    scopes: frozenset[Scope] = frozenset({Scope.PAYMENTS_WRITE}),
    not_before: datetime | None = None,
    expires_at: datetime | None = None,
    revoked_at: datetime | None = None,
    allowed_cidrs: tuple[str, ...] = (),
) -> ApiKey:
    return ApiKey(
        id=KEY_ID,
        tenant_id=TENANT_ID,
        name="till",
        prefix=shown_prefix(Environment.TEST, KEY_ID),
        digest=digest(token),
        scopes=scopes,
        created_at=NOW,
        not_before=not_before,
        expires_at=expires_at,
        revoked_at=revoked_at,
        allowed_cidrs=allowed_cidrs,
    )


def payment_request(money: Money = EUROS) -> PaymentRequest:
    return PaymentRequest(
        money=money, description="Two coffees", reference="order-7", metadata={"till": "2"}
    )


def claim(key: str = "k-1", body: bytes = b"{}") -> Claim:
    return Claim(TENANT_ID, key, fingerprint("POST", "/v1/payments", body))
