"""The outermost gate: whatever happens within, the client gets an answer it understands.

Names the route, limits the time, and turns every exception into a problem. A fault is logged
here once, with its trace id and without headers or bodies, which may hold keys and customers'
data. Must not know why a handler failed, and never shows it.
"""

import logging
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from fluxpay.core.problems import Code, Refused
from fluxpay.stores.problems import SerializationLost, StatementTimedOut, StoreUnavailable
from fluxpay.web.context import DEADLINE, PROBES, ROUTE
from fluxpay.web.deadlines import Deadlines
from fluxpay.web.problems import from_http_exception, respond
from fluxpay.web.route import Gate, Route
from fluxpay.web.tracing import trace_of

_LOG: Final = logging.getLogger("fluxpay.web")


def boundary(*, timeout_s: float) -> Gate:
    """Make the gate.

    Args:
        timeout_s: How long a request may take, the wait for its body apart.
    """
    deadlines = Deadlines(timeout_s=timeout_s)

    def before(route: Route, handler: Handler) -> Handler:
        is_probe = route.path in PROBES

        async def contain(request: web.Request) -> web.StreamResponse:
            trace = trace_of(request)
            if is_probe:
                # Asked every few seconds for ever: their spans would bury all others.
                trace.forget()
            request[ROUTE] = route
            try:
                with deadlines.limit() as deadline:
                    request[DEADLINE] = deadline
                    return await handler(request)
            except web.HTTPException as error:
                return from_http_exception(error, request)
            except Exception as error:  # noqa: BLE001 - what is not known here is a fault, and answered
                return failure(error, request)

        return contain

    return before


def failure(error: BaseException | None, request: web.BaseRequest) -> web.Response:
    """Answer for what went wrong on our side, and log it."""
    trace_id = trace_of(request).trace_id
    route = request.get(ROUTE)
    place = f"{request.method} {route.path}" if route is not None else "a request"
    if isinstance(error, StoreUnavailable | StatementTimedOut | SerializationLost | TimeoutError):
        # Expected while a dependency is gone, and then for every request: one line, no traceback.
        _LOG.warning(
            "%s was not served: %s: %s trace_id=%s", place, type(error).__name__, error, trace_id
        )
        detail = "It could not be told in time whether this worked. Retrying is safe."
        return respond(Refused(Code.SERVICE_UNAVAILABLE, detail), request)
    _LOG.error("%s failed: trace_id=%s", place, trace_id, exc_info=error)
    detail = "This was our fault; it is logged under the trace_id."
    return respond(Refused(Code.INTERNAL_ERROR, detail), request)
