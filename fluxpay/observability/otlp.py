"""Spans on their way to a collector: encoded, sent in batches, counted.

The SDK's exporter speaks HTTP, with its retries, compression and TLS. Its encoder is not used: it
makes a message for each attribute of each span, which costs more than the request that the spans
tell of and holds the interpreter meanwhile. Here what spans have in common is encoded once and
merged into each, by the same library and into the same messages.

A collector that takes nothing is told of once a minute, by its address and the kind of failure.
Must not know what spans are about. Source: OpenTelemetry Protocol 1.10, "OTLP/HTTP".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Event, Lock
from time import monotonic
from typing import Any, Final, cast

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
from opentelemetry.proto.trace.v1.trace_pb2 import SpanFlags, Status
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanContext, SpanKind

from fluxpay.observability import logs
from fluxpay.observability.ended_spans import SCOPE, Form, Span
from fluxpay.observability.trace_settings import TraceSettings

_LOG: Final = logs.logger("fluxpay.observability")
_TELL_EVERY_S: Final = 60.0
_KINDS: Final = {
    SpanKind.INTERNAL: Message.SPAN_KIND_INTERNAL,
    SpanKind.SERVER: Message.SPAN_KIND_SERVER,
    SpanKind.CLIENT: Message.SPAN_KIND_CLIENT,
    SpanKind.PRODUCER: Message.SPAN_KIND_PRODUCER,
    SpanKind.CONSUMER: Message.SPAN_KIND_CONSUMER,
}
_LOCAL: Final = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE: Final = _LOCAL | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK


@dataclass(slots=True)
class Counts:
    """What became of spans; each number has one thread that adds to it.

    Args:
        exported: Taken by the collector.
        lost: Sent, or meant to be, and not taken.
        refused: Not built, because too many were waiting.
    """

    exported: int = 0
    lost: int = 0
    refused: int = 0


COUNTS: Final = Counts()
"""Those of this process."""


class Exporter(OTLPSpanExporter):
    """Sends batches, one after the other; the processor's thread calls it."""

    def __init__(self, settings: TraceSettings) -> None:
        super().__init__(
            endpoint=settings.endpoint,
            certificate_file=settings.certificate_file,
            client_key_file=settings.client_key_file,
            client_certificate_file=settings.client_certificate_file,
            headers=settings.headers,
            timeout=settings.timeout_s,
            compression=_COMPRESSIONS[settings.compression],
        )
        self.taken = 0
        """Spans that left the queue."""
        self._settled = 0
        self._given_up = Event()
        self._settling = Lock()
        self._place = settings.place
        self._told_s = float("-inf")
        self._is_refused = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; what the collector does not take is counted and gone."""
        self.taken += len(spans)
        if self._given_up.is_set():
            return SpanExportResult.FAILURE
        sent = self._client.export(encoded(cast("Sequence[Span]", spans)))
        with self._settling:
            if self._given_up.is_set():
                # It was counted as lost, and told of, when it was given up.
                return SpanExportResult.FAILURE
            self._settle(len(spans), is_exported=sent.success)
        if sent.success:
            self._tell_recovery()
            return SpanExportResult.SUCCESS
        self._tell(f"HTTP {sent.status_code}" if sent.status_code else _kind_of(sent.error))
        return SpanExportResult.FAILURE

    def give_up(self, handed: int) -> None:
        """Count what has not left of all that was handed over.

        What is under way ends unheard, and is not tried again.
        """
        with self._settling:
            left = handed - self._settled
            if left:
                self._settle(left, is_exported=False)
            self._given_up.set()
        if left:
            self.shutdown()  # type: ignore[no-untyped-call]
            _LOG.warning("spans_left_behind", spans=left)

    def _settle(self, count: int, *, is_exported: bool) -> None:
        self._settled += count
        if is_exported:
            COUNTS.exported += count
        else:
            COUNTS.lost += count

    def _tell(self, reason: str) -> None:
        self._is_refused = True
        if monotonic() >= self._told_s + _TELL_EVERY_S:
            self._told_s = monotonic()
            dropped = COUNTS.lost + COUNTS.refused
            _LOG.warning("spans_refused", collector=self._place, error=reason, dropped=dropped)

    def _tell_recovery(self) -> None:
        if self._is_refused:
            self._is_refused = False
            _LOG.info("spans_taken_again", collector=self._place)


_COMPRESSIONS: Final = {
    "none": Compression.NoCompression,
    "gzip": Compression.Gzip,
    "deflate": Compression.Deflate,
}


def encoded(spans: Sequence[Span]) -> bytes:
    """Write a batch, all of one resource, as a collector reads it."""
    request = ExportTraceServiceRequest()
    if spans:
        of_resource = request.resource_spans.add()
        _say_all(of_resource.resource.attributes, spans[0].resource.attributes)
        of_scope = of_resource.scope_spans.add()
        of_scope.scope.name, of_scope.scope.version = SCOPE.name, SCOPE.version or ""
        for span in spans:
            _write(span, of_scope.spans)
    written: bytes = request.SerializeToString()
    return written


def _write(span: Span, messages: Any) -> None:
    # The SDK's properties copy what they show; a span knows its parts by plain names as well.
    ids, within = span.ids, span.within
    message = messages.add(
        trace_id=ids.trace_id.to_bytes(16, "big"),
        span_id=ids.span_id.to_bytes(8, "big"),
        parent_span_id=b"" if within is None else within.span_id.to_bytes(8, "big"),
        start_time_unix_nano=span.start_ns,
        end_time_unix_nano=span.end_ns,
        flags=_flags(within),
    )
    message.MergeFromString(span.form.encoded or _encode(span.form))
    if ids.trace_state:
        message.trace_state = ids.trace_state.to_header()
    if span.is_error:
        message.status.code = Status.STATUS_CODE_ERROR
    if span.own:
        _say_all(message.attributes, span.own)
    for linked in span.linked:
        message.links.add(
            trace_id=linked.trace_id.to_bytes(16, "big"),
            span_id=linked.span_id.to_bytes(8, "big"),
            flags=_flags(linked),
        )


def _encode(form: Form) -> bytes:
    message = Message(name=form.name, kind=_KINDS[form.kind])
    _say_all(message.attributes, form.attributes)
    form.encoded = message.SerializeToString()
    return form.encoded


def _say_all(messages: Any, attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        said = messages.add(key=name).value
        if isinstance(value, int):
            said.int_value = value
        else:
            said.string_value = str(value)


def _flags(origin: SpanContext | None) -> int:
    """The flags of a span by its parent, or of a link by what it leads to."""
    return _REMOTE if origin is not None and origin.is_remote else _LOCAL


def _kind_of(error: Exception | None) -> str:
    # Its text holds the address with the path, and may hold more.
    return "no answer" if error is None else type(error).__name__
