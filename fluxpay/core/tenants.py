"""Tenants: what a platform team wrote down about one, and what writing it again means.

Knows the desired state and its generation; a generation only ever grows, so that a slow or
forgotten writer cannot undo a newer one. It must not know who stores tenants.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from fluxpay.core.fraud import PaymentLimit
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
