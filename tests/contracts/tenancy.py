"""The contract of tenants and their keys: generations, closing, registration, revocation."""

import asyncio
import hashlib
from dataclasses import replace
from datetime import timedelta

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
from fluxpay.core.fraud import PaymentLimit
from fluxpay.core.ids import IdKind
from fluxpay.core.keys import ApiKey, KeyConflict, KeyUnchanged, KeyWritten, Scope
from fluxpay.core.limits import Quota
from fluxpay.core.tenants import (
    Environment,
    EnvironmentFixed,
    NoSuchTenant,
    StaleGeneration,
    Tenant,
    TenantClosed,
    TenantState,
    Unchanged,
    Written,
)
from tests.contracts.law import World, law, new_id, new_tenant, now, spec_of

LATER = timedelta(seconds=5)


def key_of(tenant: Tenant, *, name: str = "till") -> ApiKey:
    """A fresh key with every property set."""
    key_id = new_id(IdKind.KEY)
    return ApiKey(
        id=key_id,
        tenant_id=tenant.id,
        name=name,
        prefix=f"fp_test_{key_id[4:]}",
        digest=hashlib.sha256(key_id.encode()).hexdigest(),
        scopes=frozenset({Scope.PAYMENTS_WRITE, Scope.LEDGER_READ}),
        created_at=now(),
        not_before=now() - LATER,
        expires_at=now() + LATER,
        allowed_cidrs=("10.0.0.0/8", "2001:db8::/32"),
    )


async def new_key(world: World, tenant: Tenant) -> ApiKey:
    """Register a fresh key."""
    key = key_of(tenant)
    assert KeyWritten(key, created=True) == await world.perform(PutApiKey(key))
    return key


# ---- tenants -------------------------------------------------------------------------------------


@law
async def a_new_tenant_is_written_and_read_back_in_full(world: World) -> None:
    tenant_id, moment = new_id(IdKind.TENANT), now()
    spec = replace(
        spec_of(3, display_name="Käse & Söhne \U0001f9c0", environment=Environment.LIVE),
        rate_limits=(
            Quota("default", requests=100, window_s=60),
            Quota("burst", requests=10, window_s=1, burst=20, route="POST /v1/payments"),
        ),
        payment_limits=(
            PaymentLimit("EUR", 2**53 - 1, 2**53 - 1, velocity_count=3, velocity_window_s=60),
            PaymentLimit("JPY", 1),
        ),
    )
    tenant = Tenant(tenant_id, spec, created_at=moment)
    assert await world.perform(FindTenant(tenant_id)) is None
    written = await world.perform(PutTenant(tenant_id, spec, moment))
    assert Written(tenant, created=True) == written
    assert tenant == await world.perform(FindTenant(tenant_id))


@law
async def a_newer_generation_replaces_the_spec_and_nothing_else(world: World) -> None:
    tenant = await new_tenant(world)
    suspended = spec_of(2, display_name="Stand", state=TenantState.SUSPENDED)
    updated = replace(tenant, spec=suspended)
    written = await world.perform(PutTenant(tenant.id, suspended, now() + LATER))
    assert Written(updated, created=False) == written
    assert updated == await world.perform(FindTenant(tenant.id))


@law
async def an_older_or_equal_generation_changes_nothing(world: World) -> None:
    tenant = await new_tenant(world)
    newest = spec_of(7, display_name="newest")
    await world.perform(PutTenant(tenant.id, newest, now()))
    stale = await world.perform(PutTenant(tenant.id, spec_of(6, display_name="old"), now()))
    same = await world.perform(PutTenant(tenant.id, spec_of(7, display_name="same"), now()))
    assert (StaleGeneration(7), Unchanged(replace(tenant, spec=newest))) == (stale, same)
    assert replace(tenant, spec=newest) == await world.perform(FindTenant(tenant.id))


@law
async def the_environment_of_a_tenant_stays(world: World) -> None:
    tenant = await new_tenant(world)
    moved = spec_of(2, environment=Environment.LIVE)
    assert EnvironmentFixed() == await world.perform(PutTenant(tenant.id, moved, now()))
    assert tenant == await world.perform(FindTenant(tenant.id))


@law
async def of_generations_written_at_once_the_newest_stays(world: World) -> None:
    tenant = await new_tenant(world)
    generations = [5, 2, 9, 4, 8, 3, 7, 6]
    puts = (PutTenant(tenant.id, spec_of(one, display_name=str(one)), now()) for one in generations)
    await asyncio.gather(*(world.perform(put) for put in puts))
    found = await world.perform(FindTenant(tenant.id))
    assert replace(tenant, spec=spec_of(9, display_name="9")) == found


@law
async def of_creations_at_once_one_creates(world: World) -> None:
    tenant_id, moment = new_id(IdKind.TENANT), now()
    puts = (PutTenant(tenant_id, spec_of(), moment) for _ in range(8))
    outcomes = await asyncio.gather(*(world.perform(put) for put in puts))
    tenant = Tenant(tenant_id, spec_of(), created_at=moment)
    assert 1 == outcomes.count(Written(tenant, created=True))
    assert 7 == outcomes.count(Unchanged(tenant))


@law
async def tenants_are_listed_by_id_page_by_page(world: World) -> None:
    made = [await new_tenant(world) for _ in range(5)]
    before = made[0].id[:-1] if made[0].id.endswith("0") else made[0].id[:-1] + "0"
    first = await world.perform(ListTenants(before, 3))
    assert tuple(made[:3]) == first
    rest = await world.perform(ListTenants(first[-1].id, 100))
    assert tuple(made[3:]) == rest[:2]
    ids = [tenant.id for tenant in await world.perform(ListTenants(None, 100))]
    assert sorted(ids) == ids


@law
async def closing_a_tenant_revokes_its_keys_for_good(world: World) -> None:
    tenant, bystander = await new_tenant(world), await new_tenant(world)
    key, revoked, theirs = [await new_key(world, one) for one in (tenant, tenant, bystander)]
    earlier, moment = now(), now() + LATER
    await world.perform(RevokeApiKey(tenant.id, revoked.id, earlier))
    closed = replace(tenant, closed_at=moment)
    assert closed == await world.perform(CloseTenant(tenant.id, moment))
    assert closed == await world.perform(FindTenant(tenant.id))
    keys = await world.perform(ListApiKeys(tenant.id))
    assert keys is not None
    assert {key.id: moment, revoked.id: earlier} == {one.id: one.revoked_at for one in keys}
    assert (theirs,) == await world.perform(ListApiKeys(bystander.id))
    # Closing again, writing a newer spec or a new key: nothing opens it or moves the instant.
    assert closed == await world.perform(CloseTenant(tenant.id, moment + LATER))
    assert TenantClosed() == await world.perform(PutTenant(tenant.id, spec_of(99), now()))
    assert TenantClosed() == await world.perform(PutApiKey(key_of(tenant)))
    assert closed == await world.perform(FindTenant(tenant.id))


@law
async def what_is_not_there_cannot_be_closed(world: World) -> None:
    assert await world.perform(CloseTenant(new_id(IdKind.TENANT), now())) is None


# ---- keys ----------------------------------------------------------------------------------------


@law
async def a_registered_key_is_found_by_its_digest_with_its_tenant(world: World) -> None:
    tenant = await new_tenant(world)
    key = await new_key(world, tenant)
    assert Credential(key, tenant) == await world.perform(FindApiKey(key.digest))
    assert (key,) == await world.perform(ListApiKeys(tenant.id))


@law
async def an_unknown_digest_finds_nothing(world: World) -> None:
    assert await world.perform(FindApiKey("0" * 64)) is None


@law
async def the_same_key_again_changes_nothing_and_another_name_does(world: World) -> None:
    tenant = await new_tenant(world)
    key = await new_key(world, tenant)
    again = replace(key, created_at=key.created_at + LATER)
    assert KeyUnchanged(key) == await world.perform(PutApiKey(again))
    renamed = replace(
        again, name="second till", scopes=frozenset({Scope.PAYMENTS_READ}), expires_at=None
    )
    kept = replace(renamed, created_at=key.created_at)
    assert KeyWritten(kept, created=False) == await world.perform(PutApiKey(renamed))
    assert (kept,) == await world.perform(ListApiKeys(tenant.id))
    assert Credential(kept, tenant) == await world.perform(FindApiKey(key.digest))


@law
async def a_digest_or_an_id_that_is_taken_is_a_conflict(world: World) -> None:
    tenant, other = await new_tenant(world), await new_tenant(world)
    key = await new_key(world, tenant)
    thieves = [
        replace(key_of(tenant), digest=key.digest),
        replace(key_of(other), digest=key.digest),
        replace(key, digest="f" * 64),
    ]
    for thief in thieves:
        outcome = await world.perform(PutApiKey(thief))
        assert isinstance(outcome, KeyConflict)
    assert (key,) == await world.perform(ListApiKeys(tenant.id))
    assert () == await world.perform(ListApiKeys(other.id))


@law
async def the_same_key_id_in_another_tenant_is_another_key(world: World) -> None:
    tenant, other = await new_tenant(world), await new_tenant(world)
    key = await new_key(world, tenant)
    twin = replace(key_of(other), id=key.id)
    assert KeyWritten(twin, created=True) == await world.perform(PutApiKey(twin))
    assert Credential(key, tenant) == await world.perform(FindApiKey(key.digest))
    assert Credential(twin, other) == await world.perform(FindApiKey(twin.digest))


@law
async def a_key_needs_a_tenant(world: World) -> None:
    nobody = Tenant(new_id(IdKind.TENANT), spec_of(), created_at=now())
    assert NoSuchTenant() == await world.perform(PutApiKey(key_of(nobody)))
    assert await world.perform(ListApiKeys(nobody.id)) is None


@law
async def a_revoked_key_stays_revoked_since_its_first_revocation(world: World) -> None:
    tenant = await new_tenant(world)
    key, kept = await new_key(world, tenant), await new_key(world, tenant)
    moment = now()
    revoked = replace(key, revoked_at=moment)
    for again in (moment, moment + LATER):
        assert revoked == await world.perform(RevokeApiKey(tenant.id, key.id, again))
    assert Credential(revoked, tenant) == await world.perform(FindApiKey(key.digest))
    outcome = await world.perform(PutApiKey(key))
    assert isinstance(outcome, KeyConflict)
    keys = await world.perform(ListApiKeys(tenant.id))
    assert keys is not None
    assert {key.id: revoked, kept.id: kept} == {one.id: one for one in keys}


@law
async def a_key_is_revoked_by_its_own_tenant_alone(world: World) -> None:
    tenant, other = await new_tenant(world), await new_tenant(world)
    key = await new_key(world, tenant)
    assert await world.perform(RevokeApiKey(other.id, key.id, now())) is None
    assert await world.perform(RevokeApiKey(tenant.id, new_id(IdKind.KEY), now())) is None
    assert Credential(key, tenant) == await world.perform(FindApiKey(key.digest))


@law
async def a_tenant_that_changes_is_seen_with_its_keys(world: World) -> None:
    tenant = await new_tenant(world)
    key = await new_key(world, tenant)
    suspended = spec_of(2, state=TenantState.SUSPENDED)
    await world.perform(PutTenant(tenant.id, suspended, now()))
    found = await world.perform(FindApiKey(key.digest))
    assert Credential(key, replace(tenant, spec=suspended)) == found
