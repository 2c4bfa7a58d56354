"""Spans as this process records them: decided on once a trace, built at its end, sent by a thread.

The SDK samples, queues and sends; its tracer is passed by. A span that is known from start to end
is built as the SDK's own `ReadableSpan` and handed to the processor, which costs a twelfth of what
starting and ending one does, and most of what a span says is the same for thousands of them: that
is its `Form`, which is made and encoded once.

Nothing here waits. The queue is bounded, and when it is full spans are not built at all, only
counted. Without an endpoint there is no recorder, and nothing but ids.

Must not know what the spans are about. Source: OpenTelemetry specification, "Tracing SDK".
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Sampler, SamplingResult
from opentelemetry.trace import SpanContext, TraceFlags, TraceState

from fluxpay import __version__
from fluxpay.observability.ended_spans import Form, Span, Value
from fluxpay.observability.otlp import COUNTS, Exporter
from fluxpay.observability.trace_settings import TraceSettings

IDS: Final = RandomIdGenerator()
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_SHUTDOWN_S: Final = 1.0


@dataclass(slots=True)
class _Process:
    recorder: "Recorder | None" = None


_PROCESS: Final = _Process()


class Recorder:
    """Samples, and takes spans that have ended. Called from one thread only."""

    def __init__(self, settings: TraceSettings) -> None:
        # What goes wrong while sending is told by the exporter, once a minute and without secrets;
        # the SDK tells it for each batch and each span.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
        # It tells addresses with their query for each request, as soon as somebody debugs.
        logging.getLogger("urllib3").setLevel(logging.WARNING)
        self._queue_max = settings.queue_max
        self._handed = 0
        self._resource = Resource.create(
            {
                "service.version": __version__,
                **settings.attributes,
                "service.name": settings.service,
            }
        )
        self._sampler: Sampler = _sampler(settings)
        self._exporter = Exporter(settings)
        self._processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=settings.queue_max,
            schedule_delay_millis=settings.delay_ms,
            max_export_batch_size=settings.batch_max,
            export_timeout_millis=settings.timeout_s * 1000,
        )

    @property
    def waiting(self) -> int:
        """How many spans have not left the queue."""
        return self._handed - self._exporter.taken

    def decide(self, trace_id: int, parent: Context) -> SamplingResult:
        """Say whether spans of a trace are recorded; asked once for each."""
        return self._sampler.should_sample(parent, trace_id, "")

    def admits(self, count: int) -> bool:
        """Say whether so many spans find room; those that do not are counted as dropped."""
        if self.waiting + count <= self._queue_max:
            return True
        COUNTS.refused += count
        return False

    def record(
        self,
        form: Form,
        ids: SpanContext,
        within: SpanContext | None,
        *,
        start_ns: int,
        end_ns: int,
        own: Mapping[str, Value],
        linked: Sequence[SpanContext] = (),
        is_error: bool = False,
    ) -> None:
        """Take a span, for which `admits` has found room."""
        self._handed += 1
        self._processor.on_end(
            Span(
                form,
                ids,
                within,
                own=own,
                linked=linked,
                resource=self._resource,
                start_ns=start_ns,
                end_ns=end_ns,
                is_error=is_error,
            )
        )

    async def close(self, *, timeout_s: float = _SHUTDOWN_S) -> None:
        """Send what waits, for a moment; a collector that does not answer keeps nobody."""
        # Threads that nothing waits for: one of them may hang in a socket for much longer.
        ending = Thread(target=self._processor.shutdown, name="span shutdown", daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, timeout_s)
        self._exporter.give_up(self._handed)


def recorder() -> Recorder | None:
    """Give the recorder of this process; None while nothing is recorded."""
    return _PROCESS.recorder


@asynccontextmanager
async def recording(settings: TraceSettings | None) -> AsyncIterator[None]:
    """Record spans for the length of a block; nothing where there are no settings."""
    if settings is None:
        yield
        return
    outer, made = _PROCESS.recorder, Recorder(settings)
    _PROCESS.recorder = made
    try:
        yield
    finally:
        _PROCESS.recorder = outer
        await made.close()


def spans_counted() -> dict[str, int]:
    """How many spans were exported and dropped since the process began."""
    return {"exported": COUNTS.exported, "dropped": COUNTS.refused + COUNTS.lost}


def new_ids(trace_id: int | None = None) -> SpanContext:
    """Make the ids of a sampled span; without a trace it begins one."""
    return ids_of(trace_id or IDS.generate_trace_id(), IDS.generate_span_id())


def ids_of(trace_id: int, span_id: int, state: TraceState | None = None) -> SpanContext:
    """Give the ids of a sampled span their form."""
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=_SAMPLED, trace_state=state)


def _sampler(settings: TraceSettings) -> Sampler:
    match settings.sampler:
        case "always_on":
            return sampling.ALWAYS_ON
        case "always_off":
            return sampling.ALWAYS_OFF
        case "traceidratio":
            return sampling.TraceIdRatioBased(settings.ratio)
        case "parentbased_always_off":
            return sampling.DEFAULT_OFF
        case "parentbased_traceidratio":
            return sampling.ParentBasedTraceIdRatio(settings.ratio)
        case _:
            return sampling.DEFAULT_ON
