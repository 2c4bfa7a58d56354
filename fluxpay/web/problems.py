"""A refusal as the answer that the client sees: `application/problem+json`.

Knows how a `Refused` is written and which headers its status calls for. Must not know why
anything was refused, and must never show more than the refusal itself says. Source: RFC 9457;
RFC 9110 for the headers.
"""

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from aiohttp import web

from fluxpay.core.problems import PROBLEMS, Code, Refused, document
from fluxpay.web.context import REFUSED
from fluxpay.web.tracing import new_trace_id, trace_of

CONTENT_TYPE: Final = "application/problem+json"
_RETRY_AFTER_S: Final = 1
_REFUSED_FROM: Final = 400

# After these the rest of the request may still be on its way, or cannot be told from the next
# one: the connection is of no more use.
_ENDS_CONNECTION: Final = frozenset(
    {Code.MALFORMED_REQUEST, Code.BODY_TIMEOUT, Code.BODY_TOO_LARGE, Code.EXPECTATION_FAILED}
)
_BY_STATUS: Final[Mapping[int, tuple[Code, str]]] = MappingProxyType(
    {
        400: (Code.MALFORMED_REQUEST, "The request cannot be read."),
        404: (Code.NOT_FOUND, "There is nothing at this path."),
        413: (Code.BODY_TOO_LARGE, "The body is larger than is read here."),
        415: (Code.UNSUPPORTED_MEDIA_TYPE, "Only application/json is read here."),
        417: (Code.EXPECTATION_FAILED, "Only `100-continue` can be expected."),
        503: (Code.SERVICE_UNAVAILABLE, "The request could not be served."),
    }
)


def respond(
    refused: Refused,
    request: web.BaseRequest | None,
    *,
    allow: Iterable[str] = (),
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Render a refusal.

    Args:
        refused: The decision.
        request: What is refused; None when no request could be read.
        allow: The methods that the path takes, for a 405.
        headers: Further headers.
    """
    status = PROBLEMS[refused.code].status
    response = web.Response(
        status=status,
        body=write(refused, request),
        headers={"Content-Type": CONTENT_TYPE, **_fields(refused, status, allow)},
    )
    response.headers.update(headers or {})
    response[REFUSED] = refused
    if refused.code in _ENDS_CONNECTION:
        response.force_close()
    return response


def refusal_of(response: web.StreamResponse) -> Refused | None:
    """The decision behind an answer, if it is a problem."""
    return response.get(REFUSED) if response.status >= _REFUSED_FROM else None


def write(refused: Refused, request: web.BaseRequest | None) -> bytes:
    """Write the problem document alone."""
    members = document(
        refused,
        instance="/" if request is None else request.rel_url.raw_path,
        trace_id=new_trace_id() if request is None else trace_of(request).trace_id,
    )
    # ASCII only: a detail may quote what the client sent, and some of that has no UTF-8.
    return json.dumps(members, separators=(",", ":")).encode("ascii")


def from_http_exception(error: web.HTTPException, request: web.BaseRequest) -> web.Response:
    """Render what aiohttp itself refuses."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        methods = sorted(error.allowed_methods)
        refused = Refused(Code.METHOD_NOT_ALLOWED, f"This path takes {', '.join(methods)}.")
        return respond(refused, request, allow=methods)
    code, detail = _BY_STATUS.get(
        error.status, (Code.INTERNAL_ERROR, "The request could not be answered.")
    )
    return respond(Refused(code, detail), request)


def _fields(refused: Refused, status: int, allow: Iterable[str]) -> dict[str, str]:
    match status:
        case 401:
            return {"WWW-Authenticate": "Bearer"}
        case 405:
            return {"Allow": ", ".join(allow)}
        case 415:
            return {"Accept": "application/json"}
        case 429 | 503:
            return {"Retry-After": str(refused.retry_after_s or _RETRY_AFTER_S)}
        case _ if refused.retry_after_s is not None:
            return {"Retry-After": str(refused.retry_after_s)}
        case _:
            return {}
