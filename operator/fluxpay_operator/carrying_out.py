"""Carry a plan out, one action after the other, and note what a person would want to know.

Knows which call each action is. Stops at the first that fails; what is left, the next plan says
again. Must not know why an action was planned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from fluxpay.core.key_rotation import HoldKey, RegisterKey, RevokeKey, TidyKey, Why
from fluxpay.core.tenants import CloseIt, DropHeld, PutSpec, ReleaseHeld, TenantState
from fluxpay_operator import bindings
from fluxpay_operator.kube import KubeConflict

if TYPE_CHECKING:
    from collections.abc import Callable

    from fluxpay.core.tenants import TenantAction, TenantPlan
    from fluxpay_operator.admin_client import AdminClient
    from fluxpay_operator.bindings import Place
    from fluxpay_operator.gathering import Gathered
    from fluxpay_operator.kube import Document, Kube


class SecretTaken(Exception):
    """Somebody made a Secret of this name between our look and our write."""


@dataclass(frozen=True, slots=True)
class News:
    """Something a person would want to know."""

    reason: str
    message: str
    is_warning: bool = False


HELD_NEWS: dict[Why, tuple[str, str]] = {
    Why.FIRST: ("KeyIssued", "Key {key} was issued; Secret {secret} holds it."),
    Why.LOST: (
        "SecretHealed",
        "Secret {secret} was not there or its key edited: it holds a new one; the one before works "  # noqa: ISC004
        "until its overlap ends.",
    ),
    Why.REVOKED: ("KeyReplaced", "Key {key} had been revoked: Secret {secret} holds a new one."),
    Why.DUE: ("KeyRotated", "Key {key} was rotated as planned; Secret {secret} holds the new one."),
    Why.REQUESTED: (
        "KeyRotated",
        "Key {key} was rotated as asked for; Secret {secret} holds the new one.",
    ),
}


class Hands:
    """What carries out plans.

    Args:
        placed: Is told of every Secret that was written, as it then is.
        tell: Takes the news.
    """

    def __init__(
        self,
        kube: Kube,
        admin: AdminClient,
        *,
        placed: Callable[[Document], None],
        tell: Callable[[News], None],
    ) -> None:
        self._kube = kube
        self._admin = admin
        self._placed = placed
        self._tell = tell
        self.has_put_spec = False

    async def carry_out(self, plan: TenantPlan, gathered: Gathered) -> None:
        """Do all of it.

        Raises: KubeUnavailable, KubeRefused, SecretTaken, AdminUnavailable, AdminNotAdmitted,
            AdminRefused.
        """
        for action in plan.actions:
            await self._do(action, gathered)

    async def _do(self, action: TenantAction, gathered: Gathered) -> None:
        tenant_id = gathered.desired.id
        match action:
            case PutSpec(spec):
                await self._admin.put_tenant(tenant_id, spec)
                self.has_put_spec = True
                self._tell(_registered(gathered, spec.state))
            case HoldKey(policy, key, why):
                place = gathered.places[policy.name]
                request = gathered.desired.rotation_requests.get(policy.name, "")
                secret = bindings.manifest(
                    place, token=key.token, key_id=key.id, rotation_request=request
                )
                await self._apply(secret, gathered)
                reason, message = HELD_NEWS[why]
                self._tell(News(reason, message.format(key=policy.name, secret=place.name)))
            case TidyKey(policy, key):
                place = gathered.places[policy.name]
                token = bindings.entry(gathered.found[place.name], "api-key")
                secret = bindings.manifest(
                    place, token=token, key_id=key.id, rotation_request=key.rotation_request
                )
                await self._apply(secret, gathered)
                message = (
                    f"Secret {place.name} was not as it should be: all but its key was written "
                    "anew."
                )
                self._tell(News("SecretHealed", message))
            case RegisterKey():
                await self._admin.put_key(tenant_id, action)
            case RevokeKey(key_id):
                await self._admin.revoke_key(tenant_id, key_id)
                self._tell(News("KeyRevoked", f"Key {key_id} was revoked."))
            case CloseIt():
                await self._admin.close_tenant(tenant_id)
                message = f"Tenant {tenant_id} was closed, its keys revoked; its books stay."
                self._tell(News("TenantClosed", message))
            case DropHeld(name):
                await self._kube.delete_secret(gathered.found[name])
            case ReleaseHeld(key_name):
                await self._release(gathered.places[key_name], gathered)
            case _:
                assert_never(action)

    async def _apply(self, secret: Document, gathered: Gathered) -> None:
        found = gathered.found.get(secret["metadata"]["name"])
        if found is not None:
            secret["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        try:
            self._placed(await self._kube.apply_secret(secret, is_ours=found is not None))
        except KubeConflict as error:
            if found is not None:
                raise
            raise SecretTaken(secret["metadata"]["name"]) from error

    async def _release(self, place: Place, gathered: Gathered) -> None:
        found = gathered.found[place.name]
        released = bindings.released(found, place)
        self._placed(await self._kube.apply_secret(released, is_ours=True))
        message = f"Secret {place.name} stays, and its key goes on working."
        self._tell(News("SecretReleased", message))


def _registered(gathered: Gathered, state: TenantState) -> News:
    tenant_id, observed = gathered.desired.id, gathered.observed.tenant
    if observed is None:
        return News("TenantRegistered", f"FluxPay knows the tenant as {tenant_id}.")
    if observed.spec.state is state:
        return News("TenantUpdated", "The new state, currencies and limits are in force.")
    if state is TenantState.SUSPENDED:
        return News("TenantSuspended", "Every request of the tenant is refused from now on.")
    return News("TenantResumed", "The tenant is served again.")
