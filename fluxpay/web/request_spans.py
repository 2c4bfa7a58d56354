"""The spans of a request, made when it has been answered: one of its own, one for each effect.

Knows the attributes. What does not vary is in a form that is made once; the rest is an id, a time
or one of few values. Nothing that a client has written is in a span but its address and the id it
gave the request: no path, no header, no body.

Must not know how spans are sent. Source: OpenTelemetry semantic conventions 1.43, "HTTP spans" and
"Database spans", the stable ones.
"""

from collections.abc import Sequence
from functools import lru_cache
from time import perf_counter
from typing import Final

from aiohttp import web
from opentelemetry.trace import SpanContext, SpanKind

from fluxpay.core.effects import PostBatch, PostPayment
from fluxpay.observability.ended_spans import Form, Value
from fluxpay.observability.spans import Recorder, new_ids
from fluxpay.stores.peers import Peer
from fluxpay.stores.problems import StoreError
from fluxpay.web.forwarded import Networks, client_address, is_secure
from fluxpay.web.origins import Origin
from fluxpay.web.telemetry import OTHER, known_method
from fluxpay.web.tracing import Answered, Recording, Trace

_SERVER_FAULT: Final = 500
_NS: Final = 1_000_000_000
_SCRUBBED: Final = "/REDACTED"

Place = tuple[str, int] | None
"""Address and port at which a request arrived, where that is known."""


def record_request(
    recorder: Recorder,
    trace: Trace,
    request: web.BaseRequest,
    *,
    route: str,
    status: int,
    trusted: Networks,
) -> None:
    """Hand over the spans of a sampled request that was just answered.

    Args:
        route: The template of its path; empty when it matched none.
        trusted: The proxies whose word about the client's address counts.
    """
    recording = trace.recording
    if recording is None or not recorder.admits(1 + len(recording.answered)):
        return
    # What happened is placed by one clock, so that no effect ends after its request.
    zero_ns = recording.started_ns - int(trace.started_s * _NS)
    form = _server_form(
        known_method(request.method),
        route,
        status,
        "https" if is_secure(request, trusted) else "http",
        f"{request.version.major}.{request.version.minor}",
        _place(request),
    )
    own: dict[str, Value] = {"fluxpay.request.id": trace.request_id}
    if trace.tenant_id:
        own["fluxpay.tenant.id"], own["fluxpay.key.id"] = trace.tenant_id, trace.key_id
    address = client_address(request, trusted)
    if address:
        own["client.address"] = address
    for answered in recording.answered:
        recorder.record(
            _effect_form(type(answered.effect).__name__, answered.origin),
            new_ids(recording.ids.trace_id),
            recording.ids,
            start_ns=zero_ns + int(answered.started_s * _NS),
            end_ns=zero_ns + int(answered.ended_s * _NS),
            own=_own(answered),
            linked=_commits(answered, recording),
            is_error=answered.error is not None,
        )
    # Last, so that whoever has got it has got the others, in this batch or in an earlier one.
    recorder.record(
        form,
        recording.ids,
        recording.parent,
        start_ns=recording.started_ns,
        end_ns=zero_ns + int(perf_counter() * _NS),
        own=own,
        is_error=status >= _SERVER_FAULT,
    )


def database_attributes(peer: Peer, *, operation: str, collection: str) -> dict[str, Value]:
    """Say which store was asked for what."""
    attributes: dict[str, Value] = {
        "db.system.name": peer.system,
        "db.operation.name": operation,
        "db.namespace": peer.namespace,
        "server.address": peer.address,
    }
    if collection:
        attributes["db.collection.name"] = collection
    if peer.port is not None:
        attributes["server.port"] = peer.port
    return attributes


def error_attributes(error: object) -> dict[str, Value]:
    """Say what kind of failure it was, and never in whose words."""
    kind = type(error).__name__
    if isinstance(error, StoreError) and error.sqlstate is not None:
        return {"error.type": kind, "db.response.status_code": error.sqlstate}
    return {"error.type": kind}


@lru_cache(maxsize=4096)
def _server_form(
    method: str, route: str, status: int, scheme: str, version: str, place: Place
) -> Form:
    shown = "HTTP" if method == OTHER else method
    attributes: dict[str, Value] = {
        "http.request.method": method,
        "http.response.status_code": status,
        # The conventions want a path, without what is sensitive in it: all that a client wrote.
        "url.path": route or _SCRUBBED,
        "url.scheme": scheme,
        "network.protocol.version": version,
    }
    if route:
        attributes["http.route"] = route
    if status >= _SERVER_FAULT:
        attributes["error.type"] = str(status)
    if place is not None:
        attributes["server.address"], attributes["server.port"] = place
    return Form(f"{shown} {route}".rstrip(), SpanKind.SERVER, attributes)


@lru_cache(maxsize=1024)
def _effect_form(name: str, origin: Origin) -> Form:
    peer = origin.peer
    if peer is None:
        return Form(name, SpanKind.INTERNAL, {})
    attributes = database_attributes(peer, operation=name, collection=origin.collection)
    return Form(f"{name} {origin.collection}".rstrip(), SpanKind.CLIENT, attributes)


def _own(answered: Answered) -> dict[str, Value]:
    own: dict[str, Value] = {}
    if isinstance(answered.effect, PostBatch) and len(answered.effect.postings) > 1:
        # The conventions leave out a batch of one, which is none.
        own["db.operation.batch.size"] = len(answered.effect.postings)
    if answered.error is not None:
        own |= error_attributes(answered.error)
    return own


def _commits(answered: Answered, recording: Recording) -> Sequence[SpanContext]:
    """The commits that the payment was part of: one, or a second when the first failed."""
    if not isinstance(answered.effect, PostPayment):
        return ()
    return recording.commits.get(answered.effect.posting.payment.id, ())


def _place(request: web.BaseRequest) -> Place:
    transport = request.transport
    name = None if transport is None else transport.get_extra_info("sockname")
    return (name[0], name[1]) if isinstance(name, tuple) else None
