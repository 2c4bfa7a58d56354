"""A collector for tests: takes OTLP over HTTP and keeps what it was sent.

It reads with the messages of `opentelemetry-proto`, which are generated from the specification,
and knows nothing of how spans were made. A body that is no export request is answered with 400.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
from opentelemetry.proto.trace.v1.trace_pb2 import Status

PATH: Final = "/v1/traces"
_WAIT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Received:
    """A span as it arrived; ids in lower-case hex digits, links as pairs of them."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    state: str
    is_error: bool
    started_ns: int
    ended_ns: int
    attributes: Mapping[str, Any]
    links: list[tuple[str, str]]
    resource: Mapping[str, Any]


@dataclass(slots=True)
class Collector:
    """See the module. Use it as an async context manager."""

    status: int = 200
    spans: list[Received] = field(default_factory=list)
    requests: list[Mapping[str, str]] = field(default_factory=list)
    url: str = ""
    _runner: web.AppRunner | None = None
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def endpoint(self) -> str:
        """Where it takes traces."""
        return self.url + PATH

    @property
    def port(self) -> int:
        """The port of 127.0.0.1 that it listens on."""
        return int(self.url.rpartition(":")[2])

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post(PATH, self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def until(self, is_enough: Callable[[list[Received]], object]) -> list[Received]:
        """Wait until what has come is enough."""
        async with asyncio.timeout(_WAIT_S):
            while not is_enough(self.spans):
                self._came.clear()
                await self._came.wait()
        return self.spans

    async def next_request(self) -> None:
        """Wait until somebody sends something, whatever the answer is."""
        self._came.clear()
        async with asyncio.timeout(_WAIT_S):
            await self._came.wait()

    async def trace(self, trace_id: str) -> list[Received]:
        """Wait for the server span of a trace, and give all spans of that trace.

        It is the last of them to be sent, so the others have come as well.
        """

        def of_trace(spans: list[Received]) -> list[Received]:
            return [one for one in spans if one.trace_id == trace_id]

        found = await self.until(lambda spans: any(one.kind == "SERVER" for one in of_trace(spans)))
        return of_trace(found)

    async def _take(self, request: web.Request) -> web.Response:
        self.requests.append(request.headers)
        message = ExportTraceServiceRequest()
        try:
            message.ParseFromString(await request.read())
        except DecodeError:
            return web.Response(status=400)
        if self.status == 200:
            for of_resource in message.resource_spans:
                resource = _attributes(of_resource.resource.attributes)
                for of_scope in of_resource.scope_spans:
                    self.spans += [_received(one, resource) for one in of_scope.spans]
        self._came.set()
        return web.Response(status=self.status)


def _received(message: Any, resource: Mapping[str, Any]) -> Received:
    return Received(
        name=message.name,
        kind=Message.SpanKind.Name(message.kind).removeprefix("SPAN_KIND_"),
        trace_id=message.trace_id.hex(),
        span_id=message.span_id.hex(),
        parent_id=message.parent_span_id.hex(),
        state=message.trace_state,
        is_error=message.status.code == Status.STATUS_CODE_ERROR,
        started_ns=message.start_time_unix_nano,
        ended_ns=message.end_time_unix_nano,
        attributes=_attributes(message.attributes),
        links=[(one.trace_id.hex(), one.span_id.hex()) for one in message.links],
        resource=resource,
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    names = [pair.key for pair in pairs]
    assert len(set(names)) == len(names), names
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
