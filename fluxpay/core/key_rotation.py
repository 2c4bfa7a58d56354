"""The life of one key of a tenant: issued, registered, rotated, retired, healed.

A key's text lies in one place only, where its clients read it (the operator: a Secret). So it is
written there first, and only then is its digest registered: whatever dies in between is repaired
by reading the text again. Nothing but the present state is asked for; there is no memory of steps.

Knows policies, what is held and what is registered. It must not know what holds a text, where
digests are registered, the time, or how a key is minted: all of it is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from fluxpay.core.keys import ApiKey, Scope

# What tells the keys of the operator from those that people made through the admin API.
MARK: Final = "kubernetes:"
# A clock may run a little ahead of the one that made a key's id; a forged id may run far ahead.
_SKEW_MAX: Final = timedelta(minutes=10)
# Up to a tenth of its interval a key rotates early, each at a point of its own: a thousand keys
# that were issued together would else rotate together for ever.
_SPREAD: Final = 10
_POINTS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """A key as its tenant's spec wants it.

    Args:
        name: Unique within the tenant.
        allowed_cidrs: Networks it may be used from; none means any.
        expires_after: From its issue on; None for a key that does not expire.
        rotates_every: How long before a successor is issued; None where only a request does that.
        overlap: How long a key works on after its successor was issued.
    """

    name: str
    scopes: frozenset[Scope]
    allowed_cidrs: tuple[str, ...] = ()
    expires_after: timedelta | None = None
    rotates_every: timedelta | None = None
    overlap: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A key that nobody has yet."""

    id: str
    prefix: str
    digest: str
    issued_at: datetime
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A whole key of this tenant, as it is held for its clients.

    Args:
        rotation_request: The request to rotate that was answered with this key.
        is_tidy: Whether everything that is held beside the key is as it should be.
    """

    id: str
    prefix: str
    digest: str
    issued_at: datetime
    rotation_request: str = ""
    is_tidy: bool = True


class Holding(Enum):
    """What is held where a key should be, and is none."""

    MISSING = "missing"
    BROKEN = "broken"
    FOREIGN = "foreign"


class Why(StrEnum):
    """Why a key is issued."""

    FIRST = "first"
    LOST = "lost"
    REVOKED = "revoked"
    DUE = "due"
    REQUESTED = "requested"


@dataclass(frozen=True, slots=True)
class HoldKey:
    """Hold this new key for its clients; nobody knows it yet."""

    policy: KeyPolicy
    key: MintedKey
    why: Why


@dataclass(frozen=True, slots=True)
class TidyKey:
    """Put right what is held beside the key, and leave the key as it is."""

    policy: KeyPolicy
    key: HeldKey


@dataclass(frozen=True, slots=True)
class RegisterKey:
    """Make these the terms of the key with this digest."""

    key_id: str
    name: str
    prefix: str
    digest: str
    scopes: frozenset[Scope]
    allowed_cidrs: tuple[str, ...]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class RevokeKey:
    """End a key at once."""

    key_id: str


KeyAction = HoldKey | TidyKey | RegisterKey | RevokeKey


class KeyObstacle(Enum):
    """Why a key is not there and will not be, until somebody does something."""

    NOT_OURS = "not_ours"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """What is to be done about a key, and what will then be.

    Args:
        current: The key that its clients read afterwards.
        retiring: Registered keys that still work beside it.
        expires_at: The end of the current key.
        rotates_at: When its successor is due.
    """

    policy: KeyPolicy
    actions: tuple[KeyAction, ...] = ()
    current: HeldKey | MintedKey | None = None
    retiring: tuple[RegisterKey, ...] = ()
    expires_at: datetime | None = None
    rotates_at: datetime | None = None
    obstacle: KeyObstacle | None = None


def plan_key(
    policy: KeyPolicy,
    *,
    held: HeldKey | Holding,
    registered: Sequence[ApiKey],
    minted: MintedKey,
    rotation_request: str,
    now: datetime,
) -> KeyPlan:
    """Decide what one key needs.

    Args:
        held: What lies where its clients read it.
        registered: All keys of the tenant.
        minted: What to issue, should that be needed.
        rotation_request: Any text; a new one asks for a rotation.
        now: The present instant.
    """
    mine = [one for one in registered if one.name == MARK + policy.name and _lives(one, now)]
    if held is Holding.FOREIGN:
        return KeyPlan(policy, obstacle=KeyObstacle.NOT_OURS)
    why = _why_a_new_one(
        policy, held=held, registered=registered, rotation_request=rotation_request, now=now
    )
    if why is Why.FIRST and mine:
        why = Why.LOST
    current: HeldKey | MintedKey
    first: tuple[KeyAction, ...] = ()
    if isinstance(held, HeldKey) and why is None:
        current = held
        if not held.is_tidy:
            first = (TidyKey(policy, held),)
    else:
        current = minted
        first = (HoldKey(policy, minted, why or Why.LOST),)
    terms = _terms(policy, current)
    retired = [_retired(one, current, policy, now) for one in mine if one.id != current.id]
    is_over = terms.expires_at is not None and terms.expires_at <= now
    return KeyPlan(
        policy,
        actions=(
            *first,
            *(() if terms in map(terms_of, registered) else (terms,)),
            *(change for change, _ in retired if change is not None),
        ),
        current=current,
        retiring=tuple(left for _, left in retired if left is not None),
        expires_at=terms.expires_at,
        rotates_at=_rotates_at(policy, current),
        obstacle=KeyObstacle.EXPIRED if is_over else None,
    )


def terms_of(key: ApiKey) -> RegisterKey:
    """The terms under which a key is registered."""
    return RegisterKey(
        key_id=key.id,
        name=key.name,
        prefix=key.prefix,
        digest=key.digest,
        scopes=key.scopes,
        allowed_cidrs=key.allowed_cidrs,
        expires_at=key.expires_at,
    )


def _why_a_new_one(
    policy: KeyPolicy,
    *,
    held: HeldKey | Holding,
    registered: Sequence[ApiKey],
    rotation_request: str,
    now: datetime,
) -> Why | None:
    if not isinstance(held, HeldKey):
        return Why.FIRST if held is Holding.MISSING else Why.LOST
    if held.issued_at > now + _SKEW_MAX:
        return Why.LOST
    known = next((one for one in registered if one.id == held.id), None)
    if known is not None and known.digest != held.digest:
        return Why.LOST
    if known is not None and known.revoked_at is not None:
        return Why.REVOKED
    if rotation_request not in ("", held.rotation_request):
        return Why.REQUESTED
    rotates_at = _rotates_at(policy, held)
    return Why.DUE if rotates_at is not None and rotates_at <= now else None


def _terms(policy: KeyPolicy, key: HeldKey | MintedKey) -> RegisterKey:
    return RegisterKey(
        key_id=key.id,
        name=MARK + policy.name,
        prefix=key.prefix,
        digest=key.digest,
        scopes=policy.scopes,
        allowed_cidrs=policy.allowed_cidrs,
        expires_at=None if policy.expires_after is None else key.issued_at + policy.expires_after,
    )


def _retired(
    key: ApiKey, successor: HeldKey | MintedKey, policy: KeyPolicy, now: datetime
) -> tuple[RegisterKey | RevokeKey | None, RegisterKey | None]:
    """What to do about a key that has a successor, and the terms that it then has, if it lives."""
    # Whoever puts an old key back makes it the successor of a younger one.
    ends_at = max(successor.issued_at, key.created_at) + policy.overlap
    if ends_at <= now:
        return RevokeKey(key.id), None
    if key.expires_at is not None and key.expires_at <= ends_at:
        return None, terms_of(key)
    left = replace(terms_of(key), expires_at=ends_at)
    return left, left


def _rotates_at(policy: KeyPolicy, key: HeldKey | MintedKey) -> datetime | None:
    if policy.rotates_every is None:
        return None
    early = policy.rotates_every * int(key.digest[:4], 16) // (_POINTS * _SPREAD)
    return key.issued_at + policy.rotates_every - early


def _lives(key: ApiKey, now: datetime) -> bool:
    return key.revoked_at is None and (key.expires_at is None or now < key.expires_at)
