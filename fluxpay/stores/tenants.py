"""Tenants and their keys in Postgres: written as the core's rules decide, under a lock.

A write locks the tenant, shows the rule what is stored, and writes what the rule says; all in one
transaction. Knows rows and locks; must not know why a registration is refused.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from fluxpay.core import keys, tenants
from fluxpay.core.keys import KeyWritten
from fluxpay.core.tenants import Written
from fluxpay.stores import tenant_rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fluxpay.core.credentials import Credential
    from fluxpay.core.effects import (
        CloseTenant,
        FindApiKey,
        FindTenant,
        ListApiKeys,
        ListTenants,
        PutApiKey,
        PutTenant,
        RevokeApiKey,
    )
    from fluxpay.core.keys import ApiKey, KeyOutcome
    from fluxpay.core.tenants import Registration, Tenant
    from fluxpay.stores.connection import Connection
    from fluxpay.stores.pool import Pool


class Tenants:
    """All tenants, one at a time; only the list spans them."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find_api_key(self, effect: FindApiKey) -> Credential | None:
        """Read the key with this digest, and its tenant."""
        async with self._pool.connection() as connection:
            row = await connection.fetch_one("SELECT * FROM find_api_key(%s)", (effect.digest,))
        return None if row is None else tenant_rows.credential(*row)

    async def put(self, effect: PutTenant) -> Registration:
        """Write a tenant, or find out why not."""
        async with self._locked(effect.tenant_id) as connection:
            outcome = tenants.register(
                effect.tenant_id,
                effect.spec,
                observed=await _tenant(connection, effect.tenant_id),
                now=effect.now,
            )
            if isinstance(outcome, Written):
                await connection.execute(_UPSERT_TENANT, tenant_rows.tenant_row(outcome.tenant))
            return outcome

    async def find(self, effect: FindTenant) -> Tenant | None:
        """Read one tenant."""
        async with self._as(effect.tenant_id) as connection:
            return await _tenant(connection, effect.tenant_id)

    async def list(self, effect: ListTenants) -> tuple[Tenant, ...]:
        """Read a page of tenants."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch_all(
                "SELECT to_jsonb(t) FROM list_tenants(%s, %s) t", (effect.after, effect.limit)
            )
        return tuple(tenant_rows.tenant(row) for (row,) in rows)

    async def close(self, effect: CloseTenant) -> Tenant | None:
        """Close a tenant and revoke its keys."""
        async with self._locked(effect.tenant_id) as connection:
            observed = await _tenant(connection, effect.tenant_id)
            if observed is None or observed.closed_at is not None:
                return observed
            parameters = (effect.now, effect.tenant_id)
            await connection.execute("UPDATE tenants SET closed_at = %s WHERE id = %s", parameters)
            await connection.execute(
                "UPDATE api_keys SET revoked_at = %s WHERE tenant_id = %s AND revoked_at IS NULL",
                parameters,
            )
            return replace(observed, closed_at=effect.now)

    async def put_api_key(self, effect: PutApiKey) -> KeyOutcome:
        """Write a key, or find out why not."""
        key = effect.key
        async with self._locked(key.tenant_id) as connection:
            outcome = keys.register_key(
                key,
                tenant=await _tenant(connection, key.tenant_id),
                observed=await _api_key(connection, key.tenant_id, key.id),
                digest_holder=await connection.fetch_one(
                    "SELECT tenant_id, key_id FROM hold_digest(%s)", (key.digest,)
                ),
            )
            if isinstance(outcome, KeyWritten):
                await connection.execute(_UPSERT_KEY, tenant_rows.api_key_row(outcome.key))
            return outcome

    async def list_api_keys(self, effect: ListApiKeys) -> tuple[ApiKey, ...] | None:
        """Read all keys of a tenant."""
        async with self._as(effect.tenant_id) as connection:
            if await _tenant(connection, effect.tenant_id) is None:
                return None
            rows = await connection.fetch_all(
                "SELECT to_jsonb(k) FROM api_keys k WHERE tenant_id = %s ORDER BY id",
                (effect.tenant_id,),
            )
        return tuple(tenant_rows.api_key(row) for (row,) in rows)

    async def revoke_api_key(self, effect: RevokeApiKey) -> ApiKey | None:
        """Revoke a key; the first revocation is the one that counts."""
        async with self._as(effect.tenant_id) as connection:
            await connection.execute(
                """
                UPDATE api_keys SET revoked_at = %s
                WHERE tenant_id = %s AND id = %s AND revoked_at IS NULL
                """,
                (effect.now, effect.tenant_id, effect.key_id),
            )
            return await _api_key(connection, effect.tenant_id, effect.key_id)

    @asynccontextmanager
    async def _as(self, tenant_id: str) -> AsyncIterator[Connection]:
        async with (
            self._pool.connection() as connection,
            connection.transaction(tenant=tenant_id),
        ):
            yield connection

    @asynccontextmanager
    async def _locked(self, tenant_id: str) -> AsyncIterator[Connection]:
        """The tenant to ourselves, also while it does not exist and has no row to lock."""
        async with self._as(tenant_id) as connection:
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (tenant_id,)
            )
            yield connection


_UPSERT_TENANT = """
    INSERT INTO tenants (id, generation, display_name, environment, state, currencies, rate_limits,
                         payment_limits, created_at, closed_at)
    VALUES (%(id)s, %(generation)s, %(display_name)s, %(environment)s, %(state)s, %(currencies)s,
            %(rate_limits)s, %(payment_limits)s, %(created_at)s, %(closed_at)s)
    ON CONFLICT (id) DO UPDATE SET
        generation = excluded.generation, display_name = excluded.display_name,
        state = excluded.state, currencies = excluded.currencies,
        rate_limits = excluded.rate_limits, payment_limits = excluded.payment_limits
"""
_UPSERT_KEY = """
    INSERT INTO api_keys (tenant_id, id, name, prefix, key_hash, scopes, allowed_cidrs, created_at,
                          not_before, expires_at, revoked_at)
    VALUES (%(tenant_id)s, %(id)s, %(name)s, %(prefix)s, %(key_hash)s, %(scopes)s,
            %(allowed_cidrs)s, %(created_at)s, %(not_before)s, %(expires_at)s, %(revoked_at)s)
    ON CONFLICT (tenant_id, id) DO UPDATE SET
        name = excluded.name, prefix = excluded.prefix, scopes = excluded.scopes,
        allowed_cidrs = excluded.allowed_cidrs, not_before = excluded.not_before,
        expires_at = excluded.expires_at
"""


async def _tenant(connection: Connection, tenant_id: str) -> Tenant | None:
    row = await connection.fetch_one(
        "SELECT to_jsonb(t) FROM tenants t WHERE id = %s", (tenant_id,)
    )
    return None if row is None else tenant_rows.tenant(row[0])


async def _api_key(connection: Connection, tenant_id: str, key_id: str) -> ApiKey | None:
    row = await connection.fetch_one(
        "SELECT to_jsonb(k) FROM api_keys k WHERE tenant_id = %s AND id = %s", (tenant_id, key_id)
    )
    return None if row is None else tenant_rows.api_key(row[0])
