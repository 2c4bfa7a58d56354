"""What a request says of itself: the trace it belongs to, and the name its client gave it.

Knows two headers, and takes nothing from them that is not well-formed. Must not know who answers.
Source: W3C Trace Context, level 1.
"""

import re
from collections.abc import Mapping
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

REQUEST_ID_HEADER: Final = "X-Request-Id"
TRACEPARENT_HEADER: Final = "traceparent"

_NO_PARENT: Final = Context()
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_REQUEST_ID: Final = re.compile(r"[!-~]{1,128}", re.ASCII)


def parent_of(headers: Mapping[str, str]) -> tuple[SpanContext | None, Context]:
    """Give the span that asks, if the request names one, and the context that a sampler wants."""
    # Reading the header costs more than all the rest here, and most requests have none.
    if TRACEPARENT_HEADER not in headers:
        return None, _NO_PARENT
    told = _PROPAGATOR.extract(headers, _NO_PARENT)
    context = trace.get_current_span(told).get_span_context()
    return (context, told) if context.is_valid else (None, _NO_PARENT)


def request_id_of(headers: Mapping[str, str], *, trace_id: str) -> str:
    """Give the client's own name for the request, or the id of its trace."""
    told = headers.get(REQUEST_ID_HEADER)
    # A client that names nothing finds the request by one id, wherever it looks.
    return trace_id if told is None or _REQUEST_ID.fullmatch(told) is None else told
