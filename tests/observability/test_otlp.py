"""What is sent, held against the SDK's own encoder: faster it may be, and nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState

from fluxpay.observability.ended_spans import Form, Span
from fluxpay.observability.otlp import encoded

RESOURCE = Resource({"service.name": "fluxpay-api", "service.version": "1"})
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
attributes = st.dictionaries(
    st.sampled_from(["a", "b", "db.system.name", "server.port"]), words | st.integers(0, 1 << 40)
)
contexts = st.builds(
    SpanContext,
    st.integers(1, (1 << 128) - 1),
    st.integers(1, (1 << 64) - 1),
    st.booleans(),
    st.just(TraceFlags(TraceFlags.SAMPLED)),
    st.sampled_from([None, TraceState([("shop", "basket-7"), ("b", "c")])]),
)
instants = st.integers(1, (1 << 63) - 1)


@st.composite
def spans(draw: st.DrawFn) -> Span:
    own = {f"own.{name}": value for name, value in draw(attributes).items()}
    return Span(
        Form(draw(words), draw(st.sampled_from(SpanKind)), draw(attributes)),
        draw(contexts),
        draw(st.none() | contexts),
        resource=RESOURCE,
        start_ns=draw(instants),
        end_ns=draw(instants),
        own=own,
        linked=draw(st.lists(contexts, max_size=3)),
        is_error=draw(st.booleans()),
    )


def parsed(data: bytes) -> Any:
    message = ExportTraceServiceRequest()
    message.ParseFromString(data)
    for of_resource in message.resource_spans:
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                # A status that says nothing may be left out.
                span.status.SetInParent()
    return message


@given(st.lists(spans(), min_size=1, max_size=5))
def test_a_batch_says_what_the_sdk_would_say(batch: list[Span]) -> None:
    # Twice: what a form was encoded to the first time is used again.
    for _ in range(2):
        assert parsed(encode_spans(batch).SerializeToString()) == parsed(encoded(batch))


@pytest.mark.parametrize("batch", [[]])
def test_nothing_is_no_bytes(batch: list[Span]) -> None:
    assert b"" == encoded(batch)
