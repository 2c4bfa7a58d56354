"""What the admin port answers with: tenants and keys as documents, and the types of these.

Knows the core's nouns and their public form. A key's text is no part of any of them: it is added
once, by the one handler that makes it. Must not know HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fluxpay.core.keys import Scope
from fluxpay.core.payments import instant
from fluxpay.core.tenants import Environment, TenantState
from fluxpay.web.bodies import InstantUtc, NextCursor

if TYPE_CHECKING:
    from datetime import datetime

    from fluxpay.core.fraud import PaymentLimit
    from fluxpay.core.keys import ApiKey
    from fluxpay.core.limits import Quota
    from fluxpay.core.tenants import Tenant


class RateLimitAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A quota of requests."""

    name: str
    route: str | None
    requests: int
    window_s: int
    burst: int | None


class VelocityAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The most payments in a window."""

    count: int
    window_s: int


class PaymentLimitAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the tenant may take in one currency."""

    currency: str
    max_amount: int
    daily_volume: int | None
    velocity: VelocityAnswer | None


class TenantAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant as it is."""

    id: str
    object: Literal["tenant"]
    generation: int
    display_name: str
    environment: Environment
    state: TenantState
    currencies: tuple[str, ...]
    rate_limits: tuple[RateLimitAnswer, ...]
    payment_limits: tuple[PaymentLimitAnswer, ...]
    created_at: InstantUtc
    closed_at: InstantUtc | None


class TenantList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of tenants, by id."""

    data: tuple[TenantAnswer, ...]
    next_cursor: NextCursor


class KeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is registered."""

    id: str
    object: Literal["api_key"]
    tenant_id: str
    name: str
    prefix: str
    sha256: Annotated[str, Meta(description="SHA-256 of the whole key, in hex.")]
    scopes: tuple[Scope, ...]
    created_at: InstantUtc
    not_before: InstantUtc | None
    expires_at: InstantUtc | None
    revoked_at: InstantUtc | None
    allowed_cidrs: tuple[str, ...]
    api_key: (
        Annotated[str, Meta(description="The key itself, in the reply that makes it only.")]
        | UnsetType
    ) = UNSET


class KeyList(msgspec.Struct, frozen=True, kw_only=True):
    """All keys of a tenant, revoked ones included."""

    data: tuple[KeyAnswer, ...]
    next_cursor: NextCursor


def tenant_document(tenant: Tenant) -> dict[str, object]:
    """The tenant as platform teams see it."""
    spec = tenant.spec
    return {
        "id": tenant.id,
        "object": "tenant",
        "generation": spec.generation,
        "display_name": spec.display_name,
        "environment": spec.environment,
        "state": tenant.state,
        "currencies": list(spec.currencies),
        "rate_limits": [_rate_limit_document(quota) for quota in spec.rate_limits],
        "payment_limits": [_payment_limit_document(limit) for limit in spec.payment_limits],
        "created_at": instant(tenant.created_at),
        "closed_at": _instant_or_null(tenant.closed_at),
    }


def key_document(key: ApiKey) -> dict[str, object]:
    """The key as platform teams see it; its digest lets an operator find out what is registered."""
    return {
        "id": key.id,
        "object": "api_key",
        "tenant_id": key.tenant_id,
        "name": key.name,
        "prefix": key.prefix,
        "sha256": key.digest,
        "scopes": sorted(key.scopes),
        "created_at": instant(key.created_at),
        "not_before": _instant_or_null(key.not_before),
        "expires_at": _instant_or_null(key.expires_at),
        "revoked_at": _instant_or_null(key.revoked_at),
        "allowed_cidrs": list(key.allowed_cidrs),
    }


def _rate_limit_document(quota: Quota) -> dict[str, object]:
    return {
        "name": quota.name,
        "route": quota.route,
        "requests": quota.requests,
        "window_s": quota.window_s,
        "burst": quota.burst,
    }


def _payment_limit_document(limit: PaymentLimit) -> dict[str, object]:
    velocity = None
    if limit.velocity_count is not None:
        velocity = {"count": limit.velocity_count, "window_s": limit.velocity_window_s}
    return {
        "currency": limit.currency,
        "max_amount": limit.max_amount_minor,
        "daily_volume": limit.daily_volume_minor,
        "velocity": velocity,
    }


def _instant_or_null(moment: datetime | None) -> str | None:
    return None if moment is None else instant(moment)
