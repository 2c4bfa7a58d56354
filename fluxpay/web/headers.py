"""What every answer wears, whoever made it and however the request went.

Ids, rate-limit fields and security headers are put on in one place, just before the answer
leaves, so that no path around the gates can lose them. A header that a handler has set
itself stays. Source: OWASP REST security cheat sheet; draft-ietf-httpapi-ratelimit-headers-10.
"""

from typing import Final

from aiohttp import hdrs, web

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
_STRICT_TRANSPORT: Final = "max-age=31536000; includeSubDomains"


def dress(
    response: web.StreamResponse, request: web.BaseRequest, *, trusted: Networks, last: bool
) -> None:
    """Put on what the answer still lacks.

    Args:
        response: An answer of which nothing has been sent.
        request: What it answers.
        trusted: The proxies whose word about TLS counts.
        last: Whether the connection takes no further request.
    """
    headers = response.headers
    for name, value in _ALWAYS:
        headers.setdefault(name, value)
    trace = trace_of(request)
    headers["X-Request-Id"] = trace.request_id
    headers["traceparent"] = trace.traceparent
    states = request.get(QUOTA_STATES)
    if states is not None:
        headers["RateLimit-Policy"] = policy_field(states)
        headers["RateLimit"] = limit_field(states)
    if is_secure(request, trusted):
        headers["Strict-Transport-Security"] = _STRICT_TRANSPORT
    # A body that was expected but never asked for will not come, or not be told from a request.
    if last or (hdrs.EXPECT in request.headers and not request.content.is_eof()):
        response.force_close()
