"""How tenants and keys look as rows, in both directions. Knows columns and core nouns only."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from fluxpay.core.credentials import Credential
from fluxpay.core.fraud import PaymentLimit
from fluxpay.core.keys import ApiKey, Scope
from fluxpay.core.limits import Quota
from fluxpay.core.tenants import Environment, Tenant, TenantSpec, TenantState

Json = dict[str, Any]


def credential(key: Json, owner: Json) -> Credential:
    """Read a key's row together with its tenant's."""
    return Credential(key=api_key(key), tenant=tenant(owner))


def tenant(row: Json) -> Tenant:
    """Read a tenant's row, given as JSON."""
    spec = TenantSpec(
        generation=row["generation"],
        display_name=row["display_name"],
        environment=Environment(row["environment"]),
        state=TenantState(row["state"]),
        currencies=tuple(row["currencies"]),
        rate_limits=tuple(Quota(**quota) for quota in row["rate_limits"]),
        payment_limits=tuple(PaymentLimit(**limit) for limit in row["payment_limits"]),
    )
    return Tenant(
        id=row["id"],
        spec=spec,
        created_at=_required(row["created_at"]),
        closed_at=_instant(row["closed_at"]),
    )


def tenant_row(value: Tenant) -> Json:
    """Write a tenant as statement parameters, by column."""
    spec = value.spec
    return {
        "id": value.id,
        "generation": spec.generation,
        "display_name": spec.display_name,
        "environment": spec.environment,
        "state": spec.state,
        "currencies": list(spec.currencies),
        "rate_limits": json.dumps([_quota(quota) for quota in spec.rate_limits]),
        "payment_limits": json.dumps([_limit(limit) for limit in spec.payment_limits]),
        "created_at": value.created_at,
        "closed_at": value.closed_at,
    }


def api_key(row: Json) -> ApiKey:
    """Read a key's row, given as JSON."""
    return ApiKey(
        id=row["id"],
        tenant_id=row["tenant_id"],
        name=row["name"],
        prefix=row["prefix"],
        digest=row["key_hash"],
        scopes=frozenset(Scope(scope) for scope in row["scopes"]),
        created_at=_required(row["created_at"]),
        not_before=_instant(row["not_before"]),
        expires_at=_instant(row["expires_at"]),
        revoked_at=_instant(row["revoked_at"]),
        allowed_cidrs=tuple(row["allowed_cidrs"]),
    )


def api_key_row(key: ApiKey) -> Json:
    """Write a key as statement parameters, by column."""
    return {
        "tenant_id": key.tenant_id,
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "key_hash": key.digest,
        "scopes": sorted(key.scopes),
        "allowed_cidrs": list(key.allowed_cidrs),
        "created_at": key.created_at,
        "not_before": key.not_before,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }


def _quota(quota: Quota) -> Json:
    return {
        "name": quota.name,
        "requests": quota.requests,
        "window_s": quota.window_s,
        "burst": quota.burst,
        "route": quota.route,
    }


def _limit(limit: PaymentLimit) -> Json:
    return {
        "currency": limit.currency,
        "max_amount_minor": limit.max_amount_minor,
        "daily_volume_minor": limit.daily_volume_minor,
        "velocity_count": limit.velocity_count,
        "velocity_window_s": limit.velocity_window_s,
    }


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def _required(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
