"""The ids of one request: the trace it belongs to, and the name its client gave it.

Every answer and every log line of a request carries them, so that a client's report, a log and a
trace can be laid side by side. Source: W3C Trace Context, level 1.
"""

import re
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from aiohttp import web
from opentelemetry import trace
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from fluxpay.observability.current import CURRENT

_IDS: Final = RandomIdGenerator()
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_REQUEST_ID: Final = re.compile(r"[!-~]{1,128}", re.ASCII)
_REQUEST_ID_HEADER: Final = "X-Request-Id"
_TRACEPARENT_HEADER: Final = "traceparent"


@dataclass(slots=True)
class Trace:
    """Who this request is, and since when it is here.

    Args:
        trace_id: 32 lower-case hex digits; the client's when it sent a `traceparent`.
        span_id: 16 lower-case hex digits; ours.
        is_sampled: Whether the client asked for this trace to be recorded.
        started_s: A reading of the performance counter.
        tenant_id: Whose key it came with; empty until that is known.
        key_id: The key it came with; empty until that is known.
    """

    trace_id: str
    span_id: str
    request_id: str
    is_sampled: bool
    started_s: float
    tenant_id: str = ""
    key_id: str = ""

    @property
    def traceparent(self) -> str:
        """The trace as the header of that name tells it."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.is_sampled else '00'}"


TRACE: Final[web.RequestKey[Trace]] = web.RequestKey("TRACE", Trace)


def trace_of(request: web.BaseRequest) -> Trace:
    """Give the ids of a request; the first call makes them."""
    # Not `get`: a mapping's own is a function in Python, called three times a request.
    try:
        return request[TRACE]
    except KeyError:
        made = request[TRACE] = _begin(request)
        # The task of a connection serves one request after another: each sets itself.
        CURRENT.set(made)
        return made


def new_trace_id() -> str:
    """Make a trace id for what belongs to no request."""
    return f"{_IDS.generate_trace_id():032x}"


def _begin(request: web.BaseRequest) -> Trace:
    headers = request.headers
    trace_id, is_sampled = "", False
    # Reading the header costs more than all the rest here, and most requests have none.
    if _TRACEPARENT_HEADER in headers:
        parent = trace.get_current_span(_PROPAGATOR.extract(headers)).get_span_context()
        if parent.is_valid:
            trace_id, is_sampled = f"{parent.trace_id:032x}", parent.trace_flags.sampled
    trace_id = trace_id or new_trace_id()
    request_id = headers.get(_REQUEST_ID_HEADER)
    if request_id is None or _REQUEST_ID.fullmatch(request_id) is None:
        # A client that names nothing finds the request by one id, wherever it looks.
        request_id = trace_id
    return Trace(
        trace_id=trace_id,
        span_id=f"{_IDS.generate_span_id():016x}",
        request_id=request_id,
        is_sampled=is_sampled,
        started_s=perf_counter(),
    )
