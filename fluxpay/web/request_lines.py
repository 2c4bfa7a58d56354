"""One log line for a request that has been answered, if it is one of those that get a line.

A share of all requests gets one, chosen by the trace id as OpenTelemetry's sampler by ratio
chooses traces, so that with one ratio for both each recorded trace has its line. A request that we
failed, a slow one and one whose trace is recorded always get theirs; probes only when they fail.

Knows routes, statuses and times. Never sees a body, a header but the two with ids, nor a path: the
template of the route stands for it.
"""

import logging
from time import perf_counter
from typing import Final

from aiohttp import web

from fluxpay.observability import logs
from fluxpay.web.context import FAULT, PROBES, ROUTE
from fluxpay.web.problems import refusal_of
from fluxpay.web.telemetry import UNMATCHED, known_method
from fluxpay.web.tracing import Trace, trace_of

SLOW_S: Final = 1.0
_LOG: Final = logs.logger("fluxpay.web")
_REFUSED_FROM: Final = 400
_FAILED_FROM: Final = 500
_UNAVAILABLE: Final = 503
# The sampler by ratio looks at the last 64 bits of a trace id.
_CHOOSING_BITS: Final = 64
_CHOOSING_DIGITS: Final = 16
_AFTER_ALL_DIGITS: Final = "g"


class RequestLines:
    """Writes the lines of a port.

    Args:
        ratio: The share of all requests that gets a line, from 0 to 1.
    """

    def __init__(self, ratio: float) -> None:
        bound = round(ratio * (1 << _CHOOSING_BITS))
        # Hex digits of one length sort as the numbers do, and need not be turned into them.
        is_all = bound >= 1 << _CHOOSING_BITS
        self._bound = _AFTER_ALL_DIGITS if is_all else f"{bound:0{_CHOOSING_DIGITS}x}"

    def answered(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Write the line of a request, if it gets one."""
        trace = trace_of(request)
        elapsed_s = perf_counter() - trace.started_s
        # Nearly all requests end here.
        if (
            trace.trace_id[_CHOOSING_DIGITS:] < self._bound
            or trace.is_sampled
            or elapsed_s > SLOW_S
            or response.status >= _FAILED_FROM
        ):
            _tell(request, response, trace, elapsed_s)


def _tell(
    request: web.BaseRequest, response: web.StreamResponse, trace: Trace, elapsed_s: float
) -> None:
    route, status = request.get(ROUTE), response.status
    path = UNMATCHED if route is None else route.path
    if path in PROBES and status < _REFUSED_FROM:
        return
    refused = refusal_of(response)
    _LOG.log(
        _level(status),
        "request_answered",
        method=known_method(request.method),
        route=path,
        status=status,
        duration_ms=round(elapsed_s * 1000, 3),
        request_id=trace.request_id,
        problem=None if refused is None else refused.code.value,
        error=request.get(FAULT),
    )


def _level(status: int) -> int:
    if status < _FAILED_FROM:
        return logging.INFO
    # Not a fault of this process: what it depends on is gone, or it is on its way out.
    return logging.WARNING if status == _UNAVAILABLE else logging.ERROR
