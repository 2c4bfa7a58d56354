"""The head of every answer, whoever made it and however the request went.

Ids, rate-limit fields and security headers are put on in one place, just before the answer
leaves, so that no path around the gates can lose them. A header that a handler has set
itself stays. Source: OWASP REST security cheat sheet; draft-ietf-httpapi-ratelimit-headers-10;
RFC 9112 for the form.
"""

from email.utils import formatdate
from functools import lru_cache
from time import time
from typing import Final

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11

from fluxpay.core.limits import limit_field, policy_field
from fluxpay.web.context import QUOTA_STATES
from fluxpay.web.forwarded import Networks, is_secure
from fluxpay.web.tracing import trace_of

_ALWAYS: Final = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    # The name alone: a version would tell which holes to try.
    ("Server", "FluxPay"),
    ("X-Content-Type-Options", "nosniff"),
)
_STRICT_TRANSPORT: Final = "Strict-Transport-Security: max-age=31536000; includeSubDomains"


def head_of(
    answer: web.Response,
    request: web.BaseRequest,
    *,
    length_bytes: int,
    keep_alive: bool,
    trusted: Networks,
) -> bytes:
    """Write the head of an answer, up to and with the empty line.

    Args:
        answer: Of which nothing has been sent.
        request: What it answers.
        length_bytes: How long the body is.
        keep_alive: Whether the connection takes a further request.
        trusted: The proxies whose word about TLS counts.

    Raises:
        ValueError: A header would be read as several.
    """
    version, own, trace = request.version, answer.headers, trace_of(request)
    lines = [
        f"HTTP/{version.major}.{version.minor} {answer.status} {answer.reason}",
        *[f"{name}: {value}" for name, value in own.items()],
        *_always_but(tuple(own)),
        f"X-Request-Id: {trace.request_id}",
        f"traceparent: {trace.traceparent}",
    ]
    states = request.get(QUOTA_STATES)
    if states is not None:
        lines.append(f"RateLimit-Policy: {policy_field(states)}")
        lines.append(f"RateLimit: {limit_field(states)}")
    if is_secure(request, trusted):
        lines.append(_STRICT_TRANSPORT)
    lines.append(f"Content-Length: {length_bytes}")
    lines.append(f"Date: {_date(int(time()))}")
    # Said where it is not what the version of the protocol means without a word.
    if keep_alive is not (version >= HttpVersion11) and hdrs.CONNECTION not in own:
        lines.append(f"Connection: {'keep-alive' if keep_alive else 'close'}")
    lines.append("\r\n")
    head = "\r\n".join(lines)
    if not head.count("\n") == head.count("\r") == len(lines):
        raise ValueError("a header holds the end of a line")
    return head.encode()


@lru_cache(maxsize=64)
def _always_but(own: tuple[str, ...]) -> tuple[str, ...]:
    """The lines that an answer lacks which has these headers of its own."""
    taken = {name.lower() for name in own}
    return tuple([f"{name}: {value}" for name, value in _ALWAYS if name.lower() not in taken])


@lru_cache(maxsize=2)
def _date(now_s: int) -> str:
    return formatdate(now_s, usegmt=True)
