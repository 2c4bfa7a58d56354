"""Idempotency: the key's syntax, the fingerprint of a request, and what a second one gets.

A claim says: this tenant, under this key, asked exactly this. Whoever commits the claim first
answers it; everybody else gets that answer again, byte for byte, or is told that the key was
used for something else. Source: draft-ietf-httpapi-idempotency-key-header-07, RFC 9651 (strings).

Must not know where replies are kept.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fluxpay.core.effects import FindRecord, ReadReply, Unavailable
from fluxpay.core.problems import Code, Refused

if TYPE_CHECKING:
    from fluxpay.core.effects import Step

_BARE: Final = re.compile(r"[!#-~][!-~]{0,254}", re.ASCII)
_QUOTED: Final = re.compile(r'"((?:[!#-\[\]-~]|\\["\\]){1,255})"', re.ASCII)
_ESCAPED: Final = re.compile(r"\\(.)")
_REFUSAL_STATUS_MIN: Final = 400


@dataclass(frozen=True, slots=True)
class Claim:
    """This tenant, under this key, asks for this.

    Args:
        fingerprint: SHA-256 over method, path and decoded body, 64 hex digits.
    """

    tenant_id: str
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class StoredReply:
    """A reply as it is kept for replays.

    Args:
        fingerprint: Of the request that it answered.
        location: The `Location` header, if it had one.
    """

    fingerprint: str
    status: int
    body: bytes
    location: str | None = None


@dataclass(frozen=True, slots=True)
class Posted:
    """The claim was new and is now committed."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """The claim was answered before, with this."""

    reply: StoredReply


@dataclass(frozen=True, slots=True)
class Settled:
    """The reply to give, and whether it is a replay."""

    reply: StoredReply
    replayed: bool


@dataclass(frozen=True, slots=True)
class Mismatched:
    """The key was used for another request."""


@dataclass(frozen=True, slots=True)
class Expired:
    """The key names a payment, but its reply is no longer kept."""

    payment_id: str


def parse_key(header: str | None) -> str | Refused:
    """Read the Idempotency-Key header: a quoted string, or a bare token."""
    if header is None:
        return Refused(Code.IDEMPOTENCY_KEY_MISSING, "This request needs an Idempotency-Key.")
    if _BARE.fullmatch(header):
        return header
    quoted = _QUOTED.fullmatch(header)
    if quoted is None:
        return Refused(
            Code.IDEMPOTENCY_KEY_MALFORMED,
            "An Idempotency-Key has 1 to 255 visible ASCII characters.",
        )
    return _ESCAPED.sub(r"\1", quoted[1])


def fingerprint(method: str, path: str, canonical_body: bytes) -> str:
    """Tell two requests apart: SHA-256 as 64 hex digits.

    Args:
        method: The HTTP method.
        path: The path as the client sent it, ids included.
        canonical_body: The decoded body written in one canonical form.
    """
    # Neither a method nor a path can hold a line feed, so the parts cannot run into one another.
    return hashlib.sha256(f"{method}\n{path}\n".encode() + canonical_body).hexdigest()


def settle(claim: Claim, stored: StoredReply) -> Replayed | Mismatched:
    """Decide what a claim gets whose key already has a reply."""
    return Replayed(stored) if stored.fingerprint == claim.fingerprint else Mismatched()


def recall(claim: Claim) -> Step[Replayed | Mismatched | None]:
    """Ask the cache for the reply to a claim. None means: do the work, the database decides."""
    stored = yield from ReadReply(claim)
    if stored is None or isinstance(stored, Unavailable):
        return None
    if stored.status < _REFUSAL_STATUS_MIN:
        return settle(claim, stored)
    # A refusal lives in the cache alone, and the cache may be older than the truth: a twin of the
    # request, or a retry while the cache was lost, could have made the payment all the same.
    recorded = yield from FindRecord(claim)
    if isinstance(recorded, Expired):
        return None
    return settle(claim, stored if recorded is None else recorded)


def refusal(outcome: Mismatched | Expired) -> Refused:
    """The refusal for a claim that cannot be replayed."""
    if isinstance(outcome, Mismatched):
        return Refused(
            Code.IDEMPOTENCY_KEY_REUSED,
            "This Idempotency-Key came with another method, path or body before.",
        )
    return Refused(
        Code.IDEMPOTENCY_KEY_EXPIRED,
        f"This Idempotency-Key made {outcome.payment_id}; the reply is no longer kept.",
        members=(("payment_id", outcome.payment_id),),
    )
