"""Who is really calling, and whether over TLS, when proxies stand in between.

What a request says about itself counts only when its peer is a trusted proxy: anybody can write
`X-Forwarded-For`. The list is read from the right, since each proxy appends whom it saw.

Must not know what an address may do.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from fluxpay.core.problems import Code, Refused
from fluxpay.web.context import PROBES
from fluxpay.web.problems import respond
from fluxpay.web.route import Gate, Route

Networks = Sequence[IPv4Network | IPv6Network]

_FOR: Final = "X-Forwarded-For"
_PROTO: Final = "X-Forwarded-Proto"


def https_gate(trusted: Networks) -> Gate:
    """Refuse what did not come over TLS: a key sent in clear is a key given away."""

    def before(route: Route, handler: Handler) -> Handler:
        if route.path in PROBES:
            return handler

        async def gate(request: web.Request) -> web.StreamResponse:
            if is_secure(request, trusted):
                return await handler(request)
            return respond(Refused(Code.HTTPS_REQUIRED, "This was sent over plain HTTP."), request)

        return gate

    return before


def is_secure(request: web.BaseRequest, trusted: Networks) -> bool:
    """Tell whether the client spoke TLS, to us or to a trusted proxy."""
    if request.secure:
        return True
    protocol = request.headers.get(_PROTO)
    if protocol is None or not _is_trusted(_peer(request), trusted):
        return False
    # With several, the last one is what our own peer wrote.
    latest = ",".join(request.headers.getall(_PROTO)).rpartition(",")[2]
    return latest.strip().lower() == "https"


def client_address(request: web.BaseRequest, trusted: Networks) -> str:
    """Give the caller's IP address; empty when it has none or when it cannot be told."""
    peer = _peer(request)
    if peer is None:
        return ""
    if _FOR not in request.headers or not _is_trusted(peer, trusted):
        return _written(request.remote or "")
    address = peer
    for text in reversed(",".join(request.headers.getall(_FOR)).split(",")):
        told = _parsed(text.strip())
        if told is None:
            # A trusted proxy passed on something unreadable; guessing further would be trusting
            # whoever wrote it.
            return ""
        address = told
        if not _is_trusted(address, trusted):
            break
    return str(address)


def _peer(request: web.BaseRequest) -> IPv4Address | IPv6Address | None:
    # A peer on a unix socket has a path for a name, or none.
    return _parsed(request.remote or "")


def _is_trusted(address: IPv4Address | IPv6Address | None, trusted: Networks) -> bool:
    return address is not None and any(address in network for network in trusted)


@lru_cache(maxsize=4096)
def _written(text: str) -> str:
    """An address that can be read, in its one form."""
    return str(_parsed(text))


@lru_cache(maxsize=4096)
def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address, with a port or without: both are written by proxies in use."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A listener on `::` sees IPv4 peers in this disguise, and networks are written without it.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
