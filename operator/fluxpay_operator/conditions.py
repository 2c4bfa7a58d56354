"""Conditions: what a person or a program reads about a tenant at a glance.

Pure: what is so, what was said before, and the instant go in; the conditions come out. A condition
keeps the time of its last change until its status flips, and nothing that changes by itself, such
as a count of attempts, stands in a message: an unchanged tenant is not written.

Source: the Kubernetes API conventions, "Typical status properties"; kstatus for `Reconciling` and
`Stalled`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fluxpay_operator.status import (
    MESSAGE_CHARS_MAX,
    Condition,
    ConditionStatus,
    ConditionType,
    Status,
)

if TYPE_CHECKING:
    from datetime import datetime

TRUE: Final = ConditionStatus.TRUE
FALSE: Final = ConditionStatus.FALSE
UNKNOWN: Final = ConditionStatus.UNKNOWN


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps a tenant from being as it should.

    Args:
        reason: One word for programs.
        message: For people: what is wrong and what to do.
        stalls: Whether trying again is of no use until somebody does something.
    """

    reason: str
    message: str
    stalls: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a tenant has got.

    Args:
        generation: The generation of its resource that this is about.
        has_quota: Whether its spec is in force; None where that could not be found out.
        has_keys: The same for its keys.
        keys_wanted: How many it should have.
        trouble: What is in the way, if anything is.
    """

    generation: int
    has_quota: bool | None
    has_keys: bool | None
    keys_wanted: int
    is_suspended: bool
    trouble: Trouble | None = None


UNDER_WAY: Final = Trouble("UnderWay", "FluxPay is being told of this tenant.", stalls=False)
"""What is said first, where the rest takes longer than a moment."""


def conditions(standing: Standing, previous: Status, *, now: datetime) -> tuple[Condition, ...]:
    """Say what holds.

    Args:
        previous: What was said before; what is unknown now, and was known for the same
            generation, still stands.
        now: The instant of a flip.
    """
    before = {one.type: one for one in previous.conditions}
    told: dict[ConditionType, tuple[ConditionStatus, str, str]] = {}
    trouble = standing.trouble
    told[ConditionType.QUOTA_APPLIED] = _fact(
        standing.has_quota,
        before.get(ConditionType.QUOTA_APPLIED),
        standing,
        good=("Applied", "State, currencies and limits are in force."),
    )
    told[ConditionType.KEYS_ISSUED] = _fact(
        standing.has_keys,
        before.get(ConditionType.KEYS_ISSUED),
        standing,
        good=("Issued", _keys_message(standing.keys_wanted)),
    )
    told[ConditionType.READY] = _ready(standing, told)
    if trouble is None:
        told[ConditionType.DEGRADED] = (FALSE, "AsExpected", "Nothing is wrong.")
        told[ConditionType.RECONCILING] = (FALSE, "UpToDate", "Nothing is left to do.")
        told[ConditionType.STALLED] = (FALSE, "UpToDate", "Nothing is in the way.")
    else:
        is_wrong = trouble is not UNDER_WAY
        told[ConditionType.DEGRADED] = (
            (TRUE, trouble.reason, trouble.message)
            if is_wrong
            else (FALSE, "AsExpected", "Nothing is wrong.")
        )
        told[ConditionType.RECONCILING] = (
            (FALSE, "Waiting", "It is looked at again when something changes, or in some minutes.")
            if trouble.stalls
            else (TRUE, trouble.reason, trouble.message)
        )
        told[ConditionType.STALLED] = (
            (TRUE, trouble.reason, trouble.message)
            if trouble.stalls
            else (FALSE, "Trying", "It is tried again.")
        )
    return tuple(
        _condition(kind, *told[kind], before=before.get(kind), standing=standing, now=now)
        for kind in ConditionType
    )


def flips(previous: Status, conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """Those that say something else than before."""
    before = {one.type: one.status for one in previous.conditions}
    return tuple(one for one in conditions if before.get(one.type) != one.status)


def _fact(
    holds: bool | None,  # noqa: FBT001 - it is what the function is about
    before: Condition | None,
    standing: Standing,
    *,
    good: tuple[str, str],
) -> tuple[ConditionStatus, str, str]:
    if holds:
        return (TRUE, *good)
    if holds is None and before is not None and before.observed_generation == standing.generation:
        return before.status, before.reason, before.message
    trouble = standing.trouble or UNDER_WAY
    return (UNKNOWN if holds is None else FALSE), trouble.reason, trouble.message


def _ready(
    standing: Standing, told: dict[ConditionType, tuple[ConditionStatus, str, str]]
) -> tuple[ConditionStatus, str, str]:
    for kind in (ConditionType.QUOTA_APPLIED, ConditionType.KEYS_ISSUED):
        if told[kind][0] is not TRUE:
            return told[kind]
    if standing.is_suspended:
        return TRUE, "Suspended", "As asked for, every request of the tenant is refused."
    return TRUE, "Ready", "The tenant can pay."


def _keys_message(wanted: int) -> str:
    match wanted:
        case 0:
            return "No key is asked for."
        case 1:
            return "The key lies in its Secret."
        case _:
            return f"All {wanted} keys lie in their Secrets."


def _condition(
    kind: ConditionType,
    status: ConditionStatus,
    reason: str,
    message: str,
    *,
    before: Condition | None,
    standing: Standing,
    now: datetime,
) -> Condition:
    since = whole_s(now)
    if before is not None and before.status is status:
        since = before.last_transition_time
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message[:MESSAGE_CHARS_MAX],
        observed_generation=standing.generation,
        last_transition_time=since,
    )


def whole_s(moment: datetime) -> str:
    """An instant as Kubernetes writes it, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
