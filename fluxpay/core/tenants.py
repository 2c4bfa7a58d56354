"""Tenants: what a platform team wrote down about one, and what it takes to make that so.

Knows the desired state and its generation; a generation only ever grows, so that a slow or
forgotten writer cannot undo a newer one. `register` is how the service answers a write, `plan`
what the operator does next. It must not know who stores tenants, nor what holds their keys.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, assert_never

from fluxpay.core.key_rotation import MARK, Holding, KeyAction, RevokeKey, plan_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from fluxpay.core.fraud import PaymentLimit
    from fluxpay.core.key_rotation import (
        HeldKey,
        KeyPlan,
        KeyPolicy,
        MintedKey,
    )
    from fluxpay.core.keys import ApiKey
    from fluxpay.core.limits import Quota


class Environment(StrEnum):
    """Whether a tenant's money is real; it is fixed for life."""

    LIVE = "live"
    TEST = "test"


class TenantState(StrEnum):
    """Active tenants are served, suspended ones refused, closed ones gone but for their books."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class TenantSpec:
    """A tenant as its platform team wants it.

    Args:
        generation: Grows with every change of the spec; the order of writes.
        state: Active or suspended; closing is not a matter of the spec.
        currencies: ISO 4217 codes that the tenant takes.
    """

    generation: int
    display_name: str
    environment: Environment
    state: TenantState
    currencies: tuple[str, ...]
    rate_limits: tuple[Quota, ...] = ()
    payment_limits: tuple[PaymentLimit, ...] = ()


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant as it is."""

    id: str
    spec: TenantSpec
    created_at: datetime
    closed_at: datetime | None = None

    @property
    def state(self) -> TenantState:
        """The state in force: closing outlasts every spec."""
        return TenantState.CLOSED if self.closed_at is not None else self.spec.state

    def payment_limit(self, currency: str) -> PaymentLimit | None:
        """The limit for this currency, if the tenant has one."""
        for limit in self.spec.payment_limits:
            if limit.currency == currency:
                return limit
        return None


@dataclass(frozen=True, slots=True)
class Written:
    """The tenant is to be stored as given."""

    tenant: Tenant
    created: bool


@dataclass(frozen=True, slots=True)
class Unchanged:
    """This generation is in place already."""

    tenant: Tenant


@dataclass(frozen=True, slots=True)
class StaleGeneration:
    """A newer generation is in place."""

    current: int


@dataclass(frozen=True, slots=True)
class TenantClosed:
    """The tenant is closed, for good."""


@dataclass(frozen=True, slots=True)
class EnvironmentFixed:
    """The spec would move the tenant to another environment."""


@dataclass(frozen=True, slots=True)
class NoSuchTenant:
    """There is no tenant of this id."""


Registration = Written | Unchanged | StaleGeneration | TenantClosed | EnvironmentFixed


def register(
    tenant_id: str, desired: TenantSpec, *, observed: Tenant | None, now: datetime
) -> Registration:
    """Decide what writing this spec means, given what is stored.

    Args:
        tenant_id: A TypeID, `ten_...`.
        desired: The spec as the caller wants it.
        observed: The tenant as stored, if it is.
        now: The instant of a creation.
    """
    if observed is None:
        return Written(Tenant(id=tenant_id, spec=desired, created_at=now), created=True)
    if observed.state is TenantState.CLOSED:
        return TenantClosed()
    if desired.generation < observed.spec.generation:
        return StaleGeneration(observed.spec.generation)
    if desired.generation == observed.spec.generation:
        return Unchanged(observed)
    if desired.environment is not observed.spec.environment:
        return EnvironmentFixed()
    written = Tenant(id=observed.id, spec=desired, created_at=observed.created_at)
    return Written(written, created=False)


class Leaving(Enum):
    """What becomes of a tenant whose description is taken away."""

    RETAIN = "retain"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class DesiredTenant:
    """A tenant and its keys, as somebody described them.

    Args:
        id: A TypeID, `ten_...`.
        spec: Its generation is the description's, counted from `generation_base`.
        generation_base: What `generation_base` answered when the tenant was first registered.
        rotation_requests: Texts by the name of a key; a new one asks for its rotation.
        leaving: Set once the description is being taken away.
        is_claimed_elsewhere: Whether an older description has this tenant id.
    """

    id: str
    spec: TenantSpec
    keys: tuple[KeyPolicy, ...]
    rotation_requests: Mapping[str, str]
    generation_base: int | None = None
    leaving: Leaving | None = None
    is_claimed_elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class ObservedTenant:
    """A tenant and its keys, as they are.

    Args:
        tenant: As the service has it.
        keys: All that are registered, revoked ones included.
        held: What lies where clients read their keys, by the name of the key.
        strays: Places that hold a key of this tenant which no policy asks for.
    """

    tenant: Tenant | None
    keys: tuple[ApiKey, ...]
    held: Mapping[str, HeldKey | Holding]
    strays: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PutSpec:
    """Register the tenant, or bring it up to date."""

    spec: TenantSpec


@dataclass(frozen=True, slots=True)
class CloseIt:
    """Close the tenant and revoke its keys; the books stay."""


@dataclass(frozen=True, slots=True)
class DropHeld:
    """Take away what is held at this place, and nobody asks for any more."""

    place: str


@dataclass(frozen=True, slots=True)
class ReleaseHeld:
    """Let what is held for this key outlive the description."""

    key_name: str


TenantAction = PutSpec | CloseIt | DropHeld | ReleaseHeld | KeyAction


@dataclass(frozen=True, slots=True)
class ClaimedElsewhere:
    """An older description has this tenant."""


TenantObstacle = StaleGeneration | TenantClosed | EnvironmentFixed | ClaimedElsewhere


@dataclass(frozen=True, slots=True)
class TenantPlan:
    """What is to be done, in this order, and how things will then stand.

    Args:
        generation_base: To be kept; None where the tenant was not looked at.
        obstacle: Why nothing can be done about the tenant as a whole.
        due_at: When to plan again though nothing has changed.
    """

    actions: tuple[TenantAction, ...] = ()
    keys: tuple[KeyPlan, ...] = ()
    generation_base: int | None = None
    obstacle: TenantObstacle | None = None
    due_at: datetime | None = None


def generation_base(spec: TenantSpec, observed: Tenant | None) -> int:
    """Tell what to add to a description's generation, the first time its tenant is registered.

    A description may be new and its tenant old: made by hand, or described in another cluster. Its
    generations then go on where the tenant's stand, and the order of writes is kept.
    """
    if observed is None:
        return 0
    is_same = replace(observed.spec, generation=spec.generation) == spec
    return max(0, observed.spec.generation - spec.generation + (0 if is_same else 1))


def plan(
    desired: DesiredTenant,
    observed: ObservedTenant,
    *,
    minted: Mapping[str, MintedKey],
    now: datetime,
) -> TenantPlan:
    """Decide what makes the observed the desired.

    Carried out in order and cut off anywhere, the rest is what the next plan says. When nothing is
    to be done, the plan is empty.

    Args:
        desired: As it is described.
        observed: As it is.
        minted: A new key for each policy by name, to be used where one is needed.
        now: The present instant.
    """
    if desired.is_claimed_elsewhere:
        return TenantPlan(obstacle=ClaimedElsewhere())
    if desired.leaving is not None:
        return TenantPlan(actions=_farewell(desired.leaving, observed))
    base = desired.generation_base
    if base is None:
        base = generation_base(desired.spec, observed.tenant)
    spec = replace(desired.spec, generation=desired.spec.generation + base)
    outcome = register(desired.id, spec, observed=observed.tenant, now=now)
    match outcome:
        case StaleGeneration() | TenantClosed() | EnvironmentFixed():
            return TenantPlan(generation_base=base, obstacle=outcome)
        case Written() | Unchanged():
            pass
        case _:
            assert_never(outcome)
    keys = tuple(
        plan_key(
            policy,
            held=observed.held[policy.name],
            registered=observed.keys,
            minted=minted[policy.name],
            rotation_request=desired.rotation_requests.get(policy.name, ""),
            now=now,
        )
        for policy in desired.keys
    )
    return TenantPlan(
        actions=(
            *((PutSpec(spec),) if isinstance(outcome, Written) else ()),
            *(action for one in keys for action in one.actions),
            *_unwanted(desired, observed),
        ),
        keys=keys,
        generation_base=base,
        due_at=min((at for one in keys for at in _dates(one) if at > now), default=None),
    )


def _farewell(leaving: Leaving, observed: ObservedTenant) -> tuple[TenantAction, ...]:
    if leaving is Leaving.RETAIN:
        theirs = (Holding.MISSING, Holding.FOREIGN)
        return tuple(
            ReleaseHeld(name) for name, held in observed.held.items() if held not in theirs
        )
    is_open = observed.tenant is not None and observed.tenant.closed_at is None
    return (*((CloseIt(),) if is_open else ()), *(DropHeld(place) for place in observed.strays))


def _unwanted(desired: DesiredTenant, observed: ObservedTenant) -> tuple[TenantAction, ...]:
    """What belongs to keys that the description no longer has."""
    wanted = {MARK + policy.name for policy in desired.keys}
    return (
        *(
            RevokeKey(key.id)
            for key in observed.keys
            if key.revoked_at is None and key.name.startswith(MARK) and key.name not in wanted
        ),
        *(DropHeld(place) for place in observed.strays),
    )


def _dates(key: KeyPlan) -> tuple[datetime, ...]:
    """When something about a key changes by itself."""
    ends = (key.expires_at, key.rotates_at, *(one.expires_at for one in key.retiring))
    return tuple(at for at in ends if at is not None)
