"""The ids of one request: the trace it belongs to, and the name its client gave it.

Every answer and every log line of a request carries them, so that a client's report, a log and a
trace can be laid side by side. Whether spans are recorded is decided here, once; only then is
anything noted for them. Source: W3C Trace Context, level 1.
"""

from dataclasses import dataclass, field
from time import perf_counter, time_ns
from typing import Any, Final, NamedTuple

from aiohttp import web
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import SpanContext

from fluxpay.core.effects import Effect
from fluxpay.observability.current import CURRENT
from fluxpay.observability.request_ids import parent_of, request_id_of
from fluxpay.observability.spans import IDS, ids_of, recorder
from fluxpay.web.origins import Origin


class Answered(NamedTuple):
    """An effect that was performed.

    Args:
        started_s: A reading of the performance counter, as `ended_s` is.
        error: What went wrong: an exception, or the answer that stands for one.
    """

    effect: Effect[Any]
    origin: Origin
    started_s: float
    ended_s: float
    error: object | None


@dataclass(slots=True, eq=False)
class Recording:
    """What a sampled request has to tell.

    Args:
        ids: Of its span.
        parent: The span of the client that asked.
        started_ns: When, since 1970.
        commits: By payment, the commits that it was part of.
    """

    ids: SpanContext
    parent: SpanContext | None
    started_ns: int
    answered: list[Answered] = field(default_factory=list)
    commits: dict[str, list[SpanContext]] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Trace:
    """Who this request is, and since when it is here.

    Args:
        trace_id: 32 lower-case hex digits; the client's when it sent a `traceparent`.
        span_id: 16 lower-case hex digits; ours.
        is_sampled: Whether this trace is recorded, by us or at least by the client.
        started_s: A reading of the performance counter.
        tenant_id: Whose key it came with; empty until that is known.
        key_id: The key it came with; empty until that is known.
        recording: None when no spans are wanted.
    """

    trace_id: str
    span_id: str
    request_id: str
    is_sampled: bool
    started_s: float
    tenant_id: str = ""
    key_id: str = ""
    recording: Recording | None = None

    @property
    def traceparent(self) -> str:
        """The trace as the header of that name tells it."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.is_sampled else '00'}"

    def forget(self) -> None:
        """Record nothing of it after all."""
        self.is_sampled, self.recording = False, None


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


def current_recording() -> Recording | None:
    """Give what the current request notes for its spans; None when it wants none."""
    current = CURRENT.get()
    return current.recording if isinstance(current, Trace) else None


def new_trace_id() -> str:
    """Make a trace id for what belongs to no request."""
    return f"{IDS.generate_trace_id():032x}"


def _begin(request: web.BaseRequest) -> Trace:
    headers = request.headers
    parent, within = parent_of(headers)
    trace_id = IDS.generate_trace_id() if parent is None else parent.trace_id
    span_id, shown_id = IDS.generate_span_id(), f"{trace_id:032x}"
    made = Trace(
        trace_id=shown_id,
        span_id=f"{span_id:016x}",
        request_id=request_id_of(headers, trace_id=shown_id),
        is_sampled=parent is not None and parent.trace_flags.sampled,
        started_s=perf_counter(),
    )
    to = recorder()
    if to is not None:
        decided = to.decide(trace_id, within)
        made.is_sampled = decided.decision is Decision.RECORD_AND_SAMPLE
        if made.is_sampled:
            ids = ids_of(trace_id, span_id, decided.trace_state)
            made.recording = Recording(ids, parent, time_ns())
    return made
