"""What a world is to its contract, and how the laws of the contract are gathered.

A law is a coroutine that takes a world and asserts something of it; the in-memory world of the
simulation and the real stores obey the same ones. Laws make their own tenants, so they need an
empty world neither before nor after. Must not know which world it is.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, Protocol, TypeVar

from uuid_utils import uuid7

from fluxpay.core.effects import Effect, PutTenant
from fluxpay.core.fraud import PaymentLimit
from fluxpay.core.ids import IdKind, encode
from fluxpay.core.tenants import Environment, Tenant, TenantSpec, TenantState, Written

R = TypeVar("R")


class World(Protocol):
    """Whatever answers effects."""

    async def perform(self, effect: Effect[R]) -> R:
        """Answer an effect."""


Law = Callable[[World], Awaitable[None]]
LAWS: Final[list[Law]] = []


def law(check: Law) -> Law:
    """Make a coroutine part of the contract."""
    LAWS.append(check)
    return check


def new_id(kind: IdKind) -> str:
    """A fresh id; later ones sort behind earlier ones."""
    return encode(kind, uuid7().int)


def now() -> datetime:
    """The present as the service keeps it, to the millisecond."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def spec_of(
    generation: int = 1,
    *,
    display_name: str = "Kiosk",
    environment: Environment = Environment.TEST,
    state: TenantState = TenantState.ACTIVE,
    payment_limits: tuple[PaymentLimit, ...] = (),
) -> TenantSpec:
    """What a tenant is put down as."""
    return TenantSpec(
        generation=generation,
        display_name=display_name,
        environment=environment,
        state=state,
        currencies=("EUR", "JPY"),
        payment_limits=payment_limits,
    )


async def new_tenant(world: World) -> Tenant:
    """Put a fresh tenant into the world."""
    written = await world.perform(PutTenant(new_id(IdKind.TENANT), spec_of(), now()))
    assert isinstance(written, Written)
    return written.tenant
