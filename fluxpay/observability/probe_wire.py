"""The last stretch of a small port to the wire: what goes wrong there leaves as a problem.

aiohttp answers unknown paths, requests that cannot be read and faults in plain text, and says what
it is. This subclass of its request handler is the one door through which every answer leaves.

Must not know any route. Source: RFC 9457.
"""

import json
from typing import Final

from aiohttp import hdrs, web
from aiohttp.web_protocol import RequestHandler

from fluxpay.core.problems import PROBLEMS, Code, Refused, document
from fluxpay.observability import logs
from fluxpay.observability.request_ids import (
    REQUEST_ID_HEADER,
    TRACEPARENT_HEADER,
    parent_of,
    request_id_of,
)
from fluxpay.observability.spans import IDS

_LOG: Final = logs.logger("fluxpay.observability")
_TRACE_ID: Final[web.RequestKey[str]] = web.RequestKey("TRACE_ID", str)
_ALWAYS: Final = (
    (hdrs.CACHE_CONTROL, "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    # The name alone: a version would tell which holes to try.
    (hdrs.SERVER, "FluxPay"),
    ("X-Content-Type-Options", "nosniff"),
)
_REFUSALS: Final = {
    400: Refused(Code.MALFORMED_REQUEST, "The request is not well-formed HTTP."),
    404: Refused(Code.NOT_FOUND, "There is nothing at this path."),
    417: Refused(Code.EXPECTATION_FAILED, "Only `100-continue` can be expected."),
}
_FAULT: Final = Refused(Code.INTERNAL_ERROR, "This was our fault; it is logged.")


class ProbeWire(RequestHandler):
    """One connection."""

    __slots__ = ()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer. Every answer comes through here."""
        answer = resp
        if isinstance(resp, web.HTTPMethodNotAllowed):
            methods = ", ".join(sorted(resp.allowed_methods))
            refused = Refused(Code.METHOD_NOT_ALLOWED, f"This path takes {methods}.")
            answer = _respond(refused, request)
            answer.headers[hdrs.ALLOW] = methods
        elif isinstance(resp, web.HTTPException):
            answer = _respond(_REFUSALS.get(resp.status, _FAULT), request)
        for name, value in _ALWAYS:
            answer.headers[name] = value
        trace_id = _trace_id(request)
        answer.headers[REQUEST_ID_HEADER] = request_id_of(request.headers, trace_id=trace_id)
        answer.headers[TRACEPARENT_HEADER] = f"00-{trace_id}-{IDS.generate_span_id():016x}-00"
        return await super().finish_response(request, answer, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's words quote what the client sent
    ) -> web.StreamResponse:
        """Answer for a request that cannot be read, or for a fault."""
        refused = _REFUSALS.get(status, _FAULT)
        if refused is _FAULT:
            _LOG.error("probe_failed", exc_info=exc)
        response = _respond(refused, request)
        response.force_close()
        # Said aloud, since the version of a request that cannot be read is unknown.
        response.headers[hdrs.CONNECTION] = "close"
        return response


def _respond(refused: Refused, request: web.BaseRequest) -> web.Response:
    members = document(refused, instance=request.rel_url.raw_path, trace_id=_trace_id(request))
    return web.Response(
        status=PROBLEMS[refused.code].status,
        # ASCII only: a path may hold what has no UTF-8.
        body=json.dumps(members).encode("ascii"),
        headers={hdrs.CONTENT_TYPE: "application/problem+json"},
    )


def _trace_id(request: web.BaseRequest) -> str:
    """Give the trace that the request belongs to, or begin one."""
    known = request.get(_TRACE_ID)
    if known is None:
        parent, _ = parent_of(request.headers)
        number = IDS.generate_trace_id() if parent is None else parent.trace_id
        known = request[_TRACE_ID] = f"{number:032x}"
    return known
