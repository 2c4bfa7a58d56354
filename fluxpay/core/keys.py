"""API keys as records: who made them, what they may do, when they end.

Knows digests, never secrets: a key's text exists in `credentials` while it is minted or checked,
and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from fluxpay.core.tenants import NoSuchTenant, TenantClosed, TenantState

if TYPE_CHECKING:
    from datetime import datetime

    from fluxpay.core.tenants import Tenant


class Scope(StrEnum):
    """What a key may do; a route asks for exactly one."""

    PAYMENTS_WRITE = "payments:write"
    PAYMENTS_READ = "payments:read"
    REFUNDS_WRITE = "refunds:write"
    LEDGER_READ = "ledger:read"
    WEBHOOKS_MANAGE = "webhooks:manage"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A registered key.

    Args:
        id: A TypeID, `key_...`.
        prefix: The part of the key that may be shown, `fp_test_01h455vb4p`.
        digest: SHA-256 of the whole key, 64 lower-case hex digits.
        allowed_cidrs: Networks it may be used from; none means any.
    """

    id: str
    tenant_id: str
    name: str
    prefix: str
    digest: str
    scopes: frozenset[Scope]
    created_at: datetime
    not_before: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    allowed_cidrs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyWritten:
    """The key is to be stored as given."""

    key: ApiKey
    created: bool


@dataclass(frozen=True, slots=True)
class KeyUnchanged:
    """The key is registered just so already."""

    key: ApiKey


@dataclass(frozen=True, slots=True)
class KeyConflict:
    """The id or the digest belongs to another key, or to a revoked one."""

    detail: str


KeyOutcome = KeyWritten | KeyUnchanged | KeyConflict | NoSuchTenant | TenantClosed


def register_key(
    desired: ApiKey,
    *,
    tenant: Tenant | None,
    observed: ApiKey | None,
    digest_holder: tuple[str, str] | None,
) -> KeyOutcome:
    """Decide what registering this key means, given what is stored.

    Args:
        desired: The key as the caller wants it.
        tenant: Its tenant, if there is one.
        observed: The key stored under the same tenant and id.
        digest_holder: Tenant id and key id of whichever key has this digest already.
    """
    if tenant is None:
        return NoSuchTenant()
    if tenant.state is TenantState.CLOSED:
        return TenantClosed()
    if digest_holder not in (None, (desired.tenant_id, desired.id)):
        return KeyConflict("Another key has this digest.")
    if observed is None:
        return KeyWritten(desired, created=True)
    if observed.revoked_at is not None:
        return KeyConflict("This key id was revoked and stays so.")
    if observed.digest != desired.digest:
        return KeyConflict("This key id is registered with another digest.")
    wanted = replace(desired, created_at=observed.created_at)
    return KeyUnchanged(observed) if wanted == observed else KeyWritten(wanted, created=False)
