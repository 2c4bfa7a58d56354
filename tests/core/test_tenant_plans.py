"""What it takes to make a tenant what its description says, and what is left alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pytest

from fluxpay.core.key_rotation import (
    HeldKey,
    Holding,
    HoldKey,
    KeyPolicy,
    MintedKey,
    RegisterKey,
    RevokeKey,
    Why,
)
from fluxpay.core.keys import ApiKey, Scope
from fluxpay.core.tenants import (
    ClaimedElsewhere,
    CloseIt,
    DesiredTenant,
    DropHeld,
    Environment,
    EnvironmentFixed,
    Leaving,
    ObservedTenant,
    PutSpec,
    ReleaseHeld,
    StaleGeneration,
    Tenant,
    TenantClosed,
    TenantPlan,
    TenantSpec,
    TenantState,
    generation_base,
    plan,
)

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
SPEC = TenantSpec(
    generation=3,
    display_name="Corner shop",
    environment=Environment.TEST,
    state=TenantState.ACTIVE,
    currencies=("EUR",),
)
TENANT = Tenant("ten_shop", SPEC, created_at=NOW)
POLICY = KeyPolicy(name="till", scopes=frozenset({Scope.PAYMENTS_WRITE}))
MINTED = MintedKey("key_new", "fp_test_new", "0" * 64, NOW, token="whole")
HELD = HeldKey("key_old", "fp_test_old", "1" * 64, NOW)
KNOWN = ApiKey(
    id=HELD.id,
    tenant_id=TENANT.id,
    name="kubernetes:till",
    prefix=HELD.prefix,
    digest=HELD.digest,
    scopes=POLICY.scopes,
    created_at=NOW,
)
DESIRED = DesiredTenant(
    TENANT.id, SPEC, keys=(POLICY,), rotation_requests=MappingProxyType({}), generation_base=0
)
SETTLED = ObservedTenant(TENANT, (KNOWN,), {"till": HELD})


def planned(desired: DesiredTenant, observed: ObservedTenant) -> TenantPlan:
    minted = {policy.name: MINTED for policy in desired.keys}
    return plan(desired, observed, minted=minted, now=NOW)


def test_what_is_as_described_needs_nothing() -> None:
    assert () == planned(DESIRED, SETTLED).actions


def test_a_new_tenant_is_registered_before_its_key_is_made_and_told_of() -> None:
    actions = planned(DESIRED, ObservedTenant(None, (), {"till": Holding.MISSING})).actions
    registration = RegisterKey(
        "key_new", "kubernetes:till", "fp_test_new", "0" * 64, POLICY.scopes, (), None
    )
    assert (PutSpec(SPEC), HoldKey(POLICY, MINTED, Why.FIRST), registration) == actions


CHANGES = {
    "suspended": replace(SPEC, generation=4, state=TenantState.SUSPENDED),
    "renamed": replace(SPEC, generation=4, display_name="Corner"),
    "takes another currency": replace(SPEC, generation=4, currencies=("EUR", "JPY")),
}


@pytest.mark.parametrize("spec", CHANGES.values(), ids=list(CHANGES))
def test_a_newer_description_is_written_and_the_keys_stay(spec: TenantSpec) -> None:
    assert (PutSpec(spec),) == planned(replace(DESIRED, spec=spec), SETTLED).actions


def test_a_tenant_without_keys_is_fine() -> None:
    desired = replace(DESIRED, keys=())
    assert (PutSpec(SPEC),) == planned(desired, ObservedTenant(None, (), {})).actions


OBSTACLES = {
    "somebody wrote past us": (
        replace(TENANT, spec=replace(SPEC, generation=7)),
        StaleGeneration(7),
    ),
    "it is closed": (replace(TENANT, closed_at=NOW), TenantClosed()),
    "it is of the other environment": (
        replace(TENANT, spec=replace(SPEC, generation=2, environment=Environment.LIVE)),
        EnvironmentFixed(),
    ),
}


@pytest.mark.parametrize("case", OBSTACLES)
def test_where_the_service_would_refuse_nothing_is_tried_and_no_key_is_made(case: str) -> None:
    tenant, expected = OBSTACLES[case]
    found = planned(DESIRED, ObservedTenant(tenant, (), {"till": Holding.MISSING}))
    assert ((), expected) == (found.actions, found.obstacle)


@pytest.mark.parametrize("leaving", [None, *Leaving])
def test_a_tenant_that_another_description_has_is_left_alone(leaving: Leaving | None) -> None:
    desired = replace(DESIRED, is_claimed_elsewhere=True, leaving=leaving)
    found = planned(desired, replace(SETTLED, strays=("shop-till",)))
    assert ((), ClaimedElsewhere()) == (found.actions, found.obstacle)
    # It is counted from where the tenant stands once it is this description's.
    assert found.generation_base is None


def test_a_key_that_is_no_longer_asked_for_is_revoked_and_its_secret_dropped() -> None:
    found = planned(replace(DESIRED, keys=()), replace(SETTLED, held={}, strays=("shop-till",)))
    assert (RevokeKey(HELD.id), DropHeld("shop-till")) == found.actions


def test_keys_that_people_made_are_not_revoked() -> None:
    known = replace(KNOWN, id="key_of_a_person", name="till")
    found = planned(DESIRED, replace(SETTLED, keys=(KNOWN, known)))
    assert () == found.actions


def test_what_was_revoked_before_is_not_revoked_again() -> None:
    known = replace(KNOWN, id="key_gone", name="kubernetes:gone", revoked_at=NOW)
    assert () == planned(DESIRED, replace(SETTLED, keys=(KNOWN, known))).actions


def test_a_rotation_is_asked_for_key_by_key() -> None:
    other = replace(POLICY, name="office")
    desired = replace(
        DESIRED, keys=(POLICY, other), rotation_requests=MappingProxyType({"office": "now"})
    )
    held = replace(HELD, id="key_office", digest="2" * 64)
    known = replace(KNOWN, id=held.id, digest=held.digest, name="kubernetes:office")
    observed = ObservedTenant(TENANT, (KNOWN, known), {"till": HELD, "office": held})
    made = [one for one in planned(desired, observed).actions if isinstance(one, HoldKey)]
    assert [HoldKey(other, MINTED, Why.REQUESTED)] == made


def test_a_retained_tenant_keeps_its_keys_and_its_secrets() -> None:
    held: dict[str, HeldKey | Holding] = {
        "till": HELD,
        "lost": Holding.MISSING,
        "taken": Holding.FOREIGN,
    }
    found = planned(replace(DESIRED, leaving=Leaving.RETAIN), replace(SETTLED, held=held))
    assert (ReleaseHeld("till"),) == found.actions


def test_a_deleted_tenant_is_closed_before_its_secrets_go() -> None:
    observed = replace(SETTLED, strays=("shop-till",))
    found = planned(replace(DESIRED, leaving=Leaving.CLOSE), observed)
    assert (CloseIt(), DropHeld("shop-till")) == found.actions


@pytest.mark.parametrize("tenant", [None, replace(TENANT, closed_at=NOW)])
def test_what_is_not_open_is_not_closed(tenant: Tenant | None) -> None:
    found = planned(replace(DESIRED, leaving=Leaving.CLOSE), replace(SETTLED, tenant=tenant))
    assert () == found.actions


GENERATIONS = {
    "nothing there yet": (3, None, 0),
    "made by hand, otherwise": (1, replace(SPEC, generation=7, display_name="Old"), 7),
    "made by hand, just so": (1, replace(SPEC, generation=7), 6),
    "older than we are": (9, replace(SPEC, generation=2, display_name="Old"), 0),
    "ours, and the status was lost": (3, SPEC, 0),
}


@pytest.mark.parametrize("case", GENERATIONS)
def test_generations_go_on_where_an_adopted_tenant_stands(case: str) -> None:
    generation, known, expected = GENERATIONS[case]
    tenant = None if known is None else replace(TENANT, spec=known)
    assert expected == generation_base(replace(SPEC, generation=generation), tenant)


def test_an_adopted_tenant_is_written_once_and_in_order() -> None:
    old = replace(TENANT, spec=replace(SPEC, generation=7, display_name="Old"))
    desired = replace(DESIRED, spec=replace(SPEC, generation=1), generation_base=None)
    first = planned(desired, replace(SETTLED, tenant=old))
    written = replace(SPEC, generation=8)
    assert ((PutSpec(written),), 7) == (first.actions, first.generation_base)
    again = planned(desired, replace(SETTLED, tenant=replace(old, spec=written)))
    assert ((), 7) == (again.actions, again.generation_base)
    newer = replace(desired, spec=replace(SPEC, generation=2), generation_base=7)
    later = planned(newer, replace(SETTLED, tenant=replace(old, spec=written)))
    assert (PutSpec(replace(SPEC, generation=9)),) == later.actions


def test_the_plan_says_when_something_changes_by_itself() -> None:
    day = timedelta(days=1)
    policy = replace(POLICY, expires_after=90 * day, rotates_every=30 * day)
    held = replace(HELD, digest="0" * 64)
    known = replace(KNOWN, digest=held.digest, expires_at=NOW + 90 * day)
    found = planned(
        replace(DESIRED, keys=(policy,)), replace(SETTLED, keys=(known,), held={"till": held})
    )
    assert ((), NOW + 30 * day) == (found.actions, found.due_at)
