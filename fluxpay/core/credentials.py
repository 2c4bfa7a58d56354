"""The key format, and the step that tells who is calling and whether they may.

`fp_{live|test}_{key id}_{secret}{checksum}`: the key id is the suffix of its TypeID, the secret
is 33 base62 characters (192 bits of entropy), the checksum is the CRC-32 of all before it in 6.
The checksum lets a scanner find leaked keys and lets a typo be told from a wrong key without a
look-up; it protects nothing. Only the SHA-256 of the whole text is ever stored.

This module must not know where keys are stored nor what time it is.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final

from fluxpay.core.effects import FindApiKey
from fluxpay.core.problems import Code, Refused
from fluxpay.core.tenants import TenantState

if TYPE_CHECKING:
    from datetime import datetime

    from fluxpay.core.effects import Step
    from fluxpay.core.keys import ApiKey, Scope
    from fluxpay.core.tenants import Environment, Tenant

SECRET_ENTROPY_BYTES: Final = 24
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BASE: Final = len(_ALPHABET)
_PAIRS: Final = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_SECRET_CHARS: Final = 33
_CHECKSUM_CHARS: Final = 6
_TOKEN: Final = re.compile(
    r"fp_(?:live|test)_[0-7][0-9a-hjkmnp-tv-z]{25}_[0-9A-Za-z]{33}[0-9A-Za-z]{6}", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a digest leads to: a key and its tenant."""

    key: ApiKey
    tenant: Tenant


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling."""

    tenant: Tenant
    key_id: str
    scopes: frozenset[Scope]


def mint(environment: Environment, key_id: str, entropy: bytes) -> str:
    """Make the text of a new key.

    Args:
        environment: The tenant's environment, shown in the key.
        key_id: A TypeID, `key_...`.
        entropy: 24 bytes from a cryptographic source.

    Raises:
        ValueError: The entropy is not 24 bytes long.
    """
    if len(entropy) != SECRET_ENTROPY_BYTES:
        message = f"a key needs {SECRET_ENTROPY_BYTES} bytes of entropy"
        raise ValueError(message)
    secret = _base62(int.from_bytes(entropy), _SECRET_CHARS)
    unchecked = f"{shown_prefix(environment, key_id)}_{secret}"
    return unchecked + _checksum(unchecked)


def shown_prefix(environment: Environment, key_id: str) -> str:
    """The part of a key that lists and logs may show."""
    return f"fp_{environment}_{key_id.removeprefix('key_')}"


def digest(token: str) -> str:
    """SHA-256 of the whole key, 64 lower-case hex digits: the form in which it is stored."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_well_formed(token: str) -> bool:
    """Tell whether the text can be a key at all: its shape and its checksum."""
    if _TOKEN.fullmatch(token) is None:
        return False
    return _checksum(token[:-_CHECKSUM_CHARS]) == token[-_CHECKSUM_CHARS:]


def identify(
    authorization: str | None, *, scope: Scope, client_address: str, now: datetime
) -> Step[Principal | Refused]:
    """Tell who is calling, from the Authorization header, and whether they may do this.

    The guards stand in order of precedence: what is wrong with the key comes before what is wrong
    with the tenant, and that before what is missing.

    Args:
        authorization: The header's value, None when it is absent.
        scope: What the route asks for.
        client_address: The caller's IP address, proxies already taken off.
        now: The current instant.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        return _unauthorized("Send the key as `Authorization: Bearer <key>`.")
    if not is_well_formed(token):
        return _unauthorized("This is not a whole key: its form or its checksum is wrong.")
    found = yield from FindApiKey(digest(token))
    if found is None:
        return _unauthorized("No such key.")
    return _admit(found, scope=scope, client_address=client_address, now=now)


def _admit(
    found: Credential, *, scope: Scope, client_address: str, now: datetime
) -> Principal | Refused:
    key, tenant = found.key, found.tenant
    if key.revoked_at is not None or tenant.state is TenantState.CLOSED:
        return _unauthorized("This key was revoked.")
    if key.not_before is not None and now < key.not_before:
        return _unauthorized("This key is not valid yet.")
    if key.expires_at is not None and now >= key.expires_at:
        return _unauthorized("This key has expired.")
    if key.allowed_cidrs and not _is_inside(client_address, key.allowed_cidrs):
        return Refused(Code.ADDRESS_NOT_ALLOWED, "The address is outside the key's networks.")
    if tenant.state is TenantState.SUSPENDED:
        return Refused(Code.TENANT_SUSPENDED, "This tenant is suspended.")
    if scope not in key.scopes:
        return Refused(
            Code.SCOPE_MISSING,
            f"This needs the scope {scope}, which the key does not have.",
            members=(("scope", scope),),
        )
    return Principal(tenant=tenant, key_id=key.id, scopes=key.scopes)


def _is_inside(address: str, cidrs: tuple[str, ...]) -> bool:
    try:
        client = ip_address(address)
    except ValueError:
        # A caller without an IP address (a unix socket) is inside no network.
        return False
    return any(client in ip_network(cidr) for cidr in cidrs)


def _unauthorized(detail: str) -> Refused:
    return Refused(Code.UNAUTHORIZED, detail)


def _checksum(text: str) -> str:
    # As `_base62` writes it, two digits at a time, without its loop: each request asks for this.
    high, rest = divmod(zlib.crc32(text.encode()), _BASE**4)
    middle, low = divmod(rest, _BASE**2)
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]


def _base62(value: int, width: int) -> str:
    pairs = []
    for _ in range((width + 1) // 2):
        value, rest = divmod(value, _BASE * _BASE)
        pairs.append(_PAIRS[rest])
    return "".join(reversed(pairs))[-width:]
