"""The outermost gate: whatever happens within, the client gets an answer it understands.

Names the route, limits the time, and turns every exception into a problem. A fault is logged
here once, without headers or bodies, which may hold keys and customers' data. Must not know why
a handler failed, and never shows it.
"""

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from fluxpay.core.problems import Code, Refused
from fluxpay.observability import errors, logs
from fluxpay.stores.problems import SerializationLost, StatementTimedOut, StoreUnavailable
from fluxpay.web.context import DEADLINE, FAULT, PROBES, ROUTE
from fluxpay.web.deadlines import Deadlines
from fluxpay.web.problems import from_http_exception, respond
from fluxpay.web.route import Gate, Route
from fluxpay.web.tracing import trace_of

_LOG: Final = logs.logger("fluxpay.web")


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
    if isinstance(error, StoreUnavailable | StatementTimedOut | SerializationLost | TimeoutError):
        # Expected while a dependency is gone, and then for every request: its own line tells it.
        request[FAULT] = errors.told(error)
        detail = "It could not be told in time whether this worked. Retrying is safe."
        return respond(Refused(Code.SERVICE_UNAVAILABLE, detail), request)
    trace_of(request)
    route = request.get(ROUTE)
    _LOG.error("request_failed", route=None if route is None else route.path, exc_info=error)
    detail = "This was our fault; it is logged under the trace_id."
    return respond(Refused(Code.INTERNAL_ERROR, detail), request)
