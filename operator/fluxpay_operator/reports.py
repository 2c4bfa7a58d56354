"""What a turn found out about a tenant, as the status of its resource.

Pure: turns plans, obstacles and failures into words, dates and conditions. No text holds more of a
key than its prefix. Must not know how a status is written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, assert_never

import msgspec

from fluxpay.core.key_rotation import HeldKey, KeyObstacle, KeyPlan
from fluxpay.core.tenants import (
    ClaimedElsewhere,
    EnvironmentFixed,
    StaleGeneration,
    TenantClosed,
    TenantObstacle,
)
from fluxpay_operator.conditions import Standing, Trouble, conditions, whole_s
from fluxpay_operator.marks import FORCE_ANNOTATION, ROTATE_ANNOTATION_PREFIX
from fluxpay_operator.status import (
    RETIRING_KEYS_MAX,
    Binding,
    KeyStatus,
    RetiringKey,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from fluxpay.core.tenants import TenantPlan
    from fluxpay_operator.bindings import Place
    from fluxpay_operator.gathering import Gathered

REFUSALS: Final = {
    "environment_fixed": "EnvironmentFixed",
    "key_conflict": "KeyConflict",
    "stale_generation": "StaleGeneration",
    "tenant_closed": "TenantClosed",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What is to be told.

    Args:
        keys: The keys as they now are; None where that could not be found out.
        due_at: When something changes by itself.
    """

    standing: Standing
    tenant_id: str | None = None
    generation_base: int | None = None
    keys: tuple[KeyStatus, ...] | None = None
    due_at: datetime | None = None


def status_of(resource: Mapping[str, Any]) -> Status:
    """Read the status of a resource; one that cannot be read says nothing."""
    try:
        return msgspec.convert(resource.get("status") or {}, Status)
    except msgspec.ValidationError:
        return Status()


def next_status(report: Report, previous: Status, *, now: datetime) -> Status:
    """Say what the status should be."""
    standing = report.standing
    keys = previous.keys if report.keys is None else report.keys
    issued = [one for one in keys if one.id is not None]
    is_acted_on = report.keys is not None or (
        standing.trouble is not None and standing.trouble.stalls
    )
    return Status(
        observed_generation=standing.generation if is_acted_on else previous.observed_generation,
        # An id that was told once is kept: it is the tenant's for life.
        tenant_id=previous.tenant_id or report.tenant_id,
        generation_base=(
            previous.generation_base if report.generation_base is None else report.generation_base
        ),
        binding=_binding(keys),
        keys_ready=(
            previous.keys_ready if report.keys is None else f"{len(issued)}/{standing.keys_wanted}"
        ),
        next_rotation=min((one.rotates_at for one in keys if one.rotates_at), default=None),
        conditions=conditions(standing, previous, now=now),
        keys=keys,
    )


def _binding(keys: tuple[KeyStatus, ...]) -> Binding | None:
    """Name the Secret of the first key, once it holds that key: it may be somebody else's."""
    match keys:
        case (KeyStatus(id=str(), secret_name=str(name)), *_):
            return Binding(name=name)
        case _:
            return None


def nothing_known(resource: Mapping[str, Any], trouble: Trouble) -> Standing:
    """How a tenant stands of which nothing could be found out yet."""
    return Standing(
        generation=resource["metadata"]["generation"],
        has_quota=None,
        has_keys=None,
        keys_wanted=0,
        is_suspended=False,
        trouble=trouble,
    )


def reported(
    report: Report,
    planned: TenantPlan | None,
    gathered: Gathered | None,
    trouble: Trouble | None,
    *,
    is_put: bool,
) -> Report:
    """Say what a turn found out.

    Args:
        report: What was known before it.
        planned: What was planned, if it came to that.
        trouble: What ended it early, if anything did.
        is_put: Whether the spec was in force before that.
    """
    if planned is None or gathered is None:
        return _with(report, has_quota=None, trouble=trouble)
    report = replace(report, generation_base=planned.generation_base, due_at=planned.due_at)
    if planned.obstacle is not None:
        in_the_way = _obstacle(planned.obstacle)
        return _with(report, has_quota=False, trouble=in_the_way)
    if trouble is not None:
        holds = False if trouble.stalls else None
        if not is_put:
            return _with(report, has_quota=holds, trouble=trouble)
        standing = replace(report.standing, has_quota=True, has_keys=holds, trouble=trouble)
        return replace(report, standing=standing)
    blocked = [one for one in planned.keys if one.obstacle is not None]
    standing = replace(
        report.standing,
        has_quota=True,
        has_keys=not blocked,
        trouble=_key_trouble(blocked[0], gathered) if blocked else None,
    )
    keys = tuple(_key_status(one, gathered) for one in planned.keys)
    return replace(report, standing=standing, keys=keys)


def unavailable(error: Exception) -> Trouble:
    """The admin API does not serve."""
    return Trouble("AdminUnavailable", f"FluxPay's admin API fails: {error}.", stalls=False)


def not_admitted(error: Exception) -> Trouble:
    """The admin API does not admit us."""
    message = f"FluxPay's admin API does not admit the operator: {error} Check its admin token."
    return Trouble("AdminNotAdmitted", message, stalls=False)


def refused(code: str, detail: str) -> Trouble:
    """The admin API refuses what the resource asks for."""
    return Trouble(REFUSALS.get(code, "SpecRefused"), f"FluxPay refuses: {detail}", stalls=True)


def forbidden(error: Exception) -> Trouble:
    """Kubernetes does not let us do what the resource asks for."""
    return Trouble("KubernetesRefused", f"Kubernetes refuses: {error}", stalls=False)


def secret_taken(name: str) -> Trouble:
    """A Secret that is not ours stands where a key should be."""
    message = (
        f"Secret {name} exists and is not this tenant's, so it is left alone: delete or rename it, "
        "or set spec.secretTemplate.name."
    )
    return Trouble("SecretConflict", message, stalls=True)


def deletion_blocked(report: Report, name: str) -> Report:
    """The resource is being deleted, and what that takes does not come about."""
    trouble = report.standing.trouble
    told = "" if trouble is None else f" {trouble.message}"
    message = (
        "The tenant cannot be closed in FluxPay, so the resource is kept and it is tried now and "
        f"then.{told} To let go of it as it is: kubectl annotate tenant {name} "
        f"{FORCE_ANNOTATION}=true"
    )
    return _with(report, has_quota=None, trouble=Trouble("DeletionBlocked", message, stalls=True))


def _with(report: Report, *, has_quota: bool | None, trouble: Trouble | None) -> Report:
    standing = replace(report.standing, has_quota=has_quota, has_keys=None, trouble=trouble)
    return replace(report, standing=standing)


def _obstacle(obstacle: TenantObstacle) -> Trouble:
    match obstacle:
        case StaleGeneration(current):
            return Trouble(
                "StaleGeneration",
                f"Somebody wrote generation {current} of this tenant past its resource: delete the "
                "resource with deletionPolicy Retain, and adopt the tenant anew by spec.tenantID.",
                stalls=True,
            )
        case TenantClosed():
            message = "The tenant is closed, for good: make a new one without this tenantID."
            return Trouble("TenantClosed", message, stalls=True)
        case EnvironmentFixed():
            message = "The tenant was made for the other environment: make a new one for this one."
            return Trouble("EnvironmentFixed", message, stalls=True)
        case ClaimedElsewhere():
            message = "An older resource describes this tenant: delete one of the two."
            return Trouble("TenantClaimed", message, stalls=True)
        case _:
            assert_never(obstacle)


def _key_trouble(key: KeyPlan, gathered: Gathered) -> Trouble:
    name = key.policy.name
    if key.obstacle is KeyObstacle.NOT_OURS:
        return secret_taken(gathered.places[name].name)
    message = (
        f"Key {name} has expired, and its rotation is OnDemand: kubectl annotate tenant "
        f'{gathered.places[name].tenant_name} {ROTATE_ANNOTATION_PREFIX}{name}="$(date +%s)" '
        "--overwrite"
    )
    return Trouble("KeyExpired", message, stalls=True)


def _key_status(key: KeyPlan, gathered: Gathered) -> KeyStatus:
    place: Place = gathered.places[key.policy.name]
    current = key.current
    if current is None:
        return KeyStatus(name=key.policy.name, secret_name=place.name)
    if isinstance(current, HeldKey):
        handled = current.rotation_request
    else:
        handled = gathered.desired.rotation_requests.get(key.policy.name, "")
    return KeyStatus(
        name=key.policy.name,
        id=current.id,
        prefix=current.prefix,
        secret_name=place.name,
        issued_at=whole_s(current.issued_at),
        expires_at=None if key.expires_at is None else whole_s(key.expires_at),
        rotates_at=None if key.rotates_at is None else whole_s(key.rotates_at),
        rotation_handled=handled or None,
        retiring=tuple(
            RetiringKey(id=one.key_id, prefix=one.prefix, expires_at=whole_s(one.expires_at))
            for one in key.retiring[-RETIRING_KEYS_MAX:]
            if one.expires_at is not None
        ),
    )
