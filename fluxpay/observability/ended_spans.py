"""A span that has ended: what it has in common with thousands of others, and what is its own.

Most of what a span says is its `Form`: name, kind and the attributes that do not vary. It is made
once for each thing that is done, and whoever sends spans encodes it once. Must not know how.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from fluxpay import __version__

Value = str | int

SCOPE: Final = InstrumentationScope("fluxpay", __version__)

_UNSET: Final = Status()
_ERROR: Final = Status(StatusCode.ERROR)


class Form:
    """The same part of many spans.

    Args:
        attributes: Those that every one of them has.
    """

    __slots__ = ("attributes", "encoded", "kind", "name")

    def __init__(self, name: str, kind: SpanKind, attributes: Mapping[str, Value]) -> None:
        self.name = name
        self.kind = kind
        self.attributes = attributes
        self.encoded = b""
        """What the exporter has made of it; empty before the first span is sent."""


class Span(ReadableSpan):
    """A span that has ended, as the SDK's processors and exporters take it.

    Args:
        ids: Its own.
        within: The span in which it happened, here or at the client; None for the first one.
        own: The attributes that its form lacks.
        linked: Spans that it has to do with and that it did not happen in.
    """

    def __init__(
        self,
        form: Form,
        ids: SpanContext,
        within: SpanContext | None,
        *,
        resource: Resource,
        start_ns: int,
        end_ns: int,
        own: Mapping[str, Value],
        linked: Sequence[SpanContext] = (),
        is_error: bool = False,
    ) -> None:
        super().__init__(
            form.name,
            ids,
            within,
            resource,
            links=[Link(one) for one in linked] if linked else (),
            kind=form.kind,
            status=_ERROR if is_error else _UNSET,
            start_time=start_ns,
            end_time=end_ns,
            instrumentation_scope=SCOPE,
        )
        self.form = form
        self.ids = ids
        self.within = within
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.own = own
        self.linked = linked
        self.is_error = is_error

    @property
    def attributes(self) -> Mapping[str, Value]:
        """All of them: those of its form and its own."""
        return {**self.form.attributes, **self.own}
