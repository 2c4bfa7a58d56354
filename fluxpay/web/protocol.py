"""The last stretch to the wire: answers that aiohttp makes itself, and heads that never end.

aiohttp answers parser errors, failed expectations and unhandled faults behind the gates'
back and in plain text. This subclass of its request handler is the one door through which every
answer leaves: here each becomes a problem, puts on its headers and is counted. It also gives up
connections whose request head does not arrive, or whose client does not read, in time: aiohttp
has no limit for either.

Must not know any route. `factory` is what a listening socket calls for each connection.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import BadHttpMethod, BadStatusLine, InvalidHeader, LineTooLong
from aiohttp.web_protocol import RequestHandler

from fluxpay.core.problems import Code, Refused
from fluxpay.observability.spans import recorder
from fluxpay.web.boundary import failure
from fluxpay.web.context import ROUTE, Drain
from fluxpay.web.forwarded import Networks
from fluxpay.web.letters import Letter
from fluxpay.web.problems import from_http_exception, refusal_of, respond
from fluxpay.web.request_lines import RequestLines
from fluxpay.web.request_spans import record_request
from fluxpay.web.telemetry import UNMATCHED, Metrics
from fluxpay.web.tracing import trace_of

KEEPALIVE_S: Final = 75
# How long the unread rest of a refused body is still swallowed, so that the client, which may
# read only after it has written, gets to see the refusal.
LINGER_S: Final = 2

_REFUSED_FROM: Final = 400
_THROTTLED: Final = 429
_FAILED_FROM: Final = 500


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every connection of a port.

    Args:
        trusted: The proxies whose word about TLS counts.
        patience_s: How long a client may take for a request head, from its first byte, and how
            long it may leave what is written to it unread.
    """

    trusted: Networks
    patience_s: float
    drain: Drain
    metrics: Metrics
    lines: RequestLines


def factory(manager: web.Server, terms: Terms) -> Callable[[], asyncio.Protocol]:
    """Give what makes the protocol of each new connection."""
    loop = asyncio.get_running_loop()
    return lambda: Wire(
        manager,
        terms,
        loop=loop,
        keepalive_timeout=KEEPALIVE_S,
        lingering_time=LINGER_S,
        # Compressed bodies are refused unread; nothing is ever inflated.
        auto_decompress=False,
        access_log=None,
    )


class Wire(RequestHandler):
    """One connection."""

    __slots__ = ("_head_timer", "_terms", "_unread_timer")

    def __init__(self, manager: web.Server, terms: Terms, **options: Any) -> None:
        super().__init__(manager, **options)
        self._terms = terms
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None

    @property
    def is_answering(self) -> bool:
        """Whether a request is being answered."""
        answering: bool = self._request_in_progress
        return answering

    @property
    def is_busy(self) -> bool:
        """Whether a request is being read, answered or waiting for its turn."""
        in_progress = self._request_in_progress or bool(self._messages)
        return in_progress or self._head_timer is not None

    def data_received(self, data: bytes) -> None:
        """Parse what came in, and watch that a head once begun comes to its end."""
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._stop_head_timer()
            self._end_broken_body()
        elif self._head_timer is None and (self._waiter is not None or not self._request_count):
            # Nobody is served on this connection, and these bytes made no request yet. A first
            # head may come before the connection's task has begun to wait for one.
            self._head_timer = self._loop.call_later(self._terms.patience_s, self._head_is_overdue)

    def pause_writing(self) -> None:
        """Watch that the client reads: until it does, an answer waits in our memory."""
        super().pause_writing()
        # The transport, not this protocol: a closing one still waits to be read.
        if self.transport is not None:
            self._unread_timer = self._loop.call_later(self._terms.patience_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client reads again."""
        self._stop_unread_timer()
        super().resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._stop_head_timer()
        self._stop_unread_timer()
        super().connection_lost(exc)

    async def finish_response(
        self, request: web.BaseRequest, resp: object, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer. Every answer comes through here."""
        answer = _presentable(resp, request)
        _check_nothing_was_sent(request)
        terms = self._terms
        letter = Letter(answer, request, trusted=terms.trusted, last=terms.drain.has_begun)
        # aiohttp asks no more of an answer than a letter has.
        sent = await super().finish_response(request, letter, start_time)  # type: ignore[arg-type]
        self._tell(request, answer)
        return sent

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's words quote what the client sent
    ) -> web.StreamResponse:
        """Answer for what no gate saw: a request that cannot be parsed, or a fault."""
        _check_nothing_was_sent(request)
        if status == web.HTTPBadRequest.status_code:
            response = respond(Refused(Code.MALFORMED_REQUEST, _explained(exc)), request)
        else:
            response = failure(exc, request)
        response.force_close()
        # Said aloud, since the version of a request that cannot be read is unknown.
        response.headers[hdrs.CONNECTION] = "close"
        return response

    def _tell(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        route, trace, status = request.get(ROUTE), trace_of(request), response.status
        metrics = self._terms.metrics
        metrics.answered(
            route=UNMATCHED if route is None else route.path,
            method=request.method,
            status=status,
            started_s=trace.started_s,
            exemplar=trace.trace_id if trace.is_sampled else None,
        )
        if trace.tenant_id:
            metrics.tenant_answered(trace.tenant_id, _result(response))
        self._terms.lines.answered(request, response)
        to = None if trace.recording is None else recorder()
        if to is not None:
            path, trusted = "" if route is None else route.path, self._terms.trusted
            record_request(to, trace, request, route=path, status=status, trusted=trusted)

    def _end_broken_body(self) -> None:
        """Tell whoever reads a body that the parser has given it up.

        aiohttp queues the parser's error behind the request whose body is broken, and leaves
        that request waiting for the rest.
        """
        if not self._messages or isinstance(self._messages[-1][0], RawRequestMessage):
            return
        if len(self._messages) > 1:
            body = self._messages[-2][1]
        elif self._current_request is not None:
            body = self._current_request.content
        else:
            return
        if not body.is_eof():
            body.set_exception(web.RequestPayloadError("the body is framed wrongly"))

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _head_is_overdue(self) -> None:
        self._head_timer = None
        self.force_close()


def _check_nothing_was_sent(request: web.BaseRequest) -> None:
    if request.writer.output_size > 0:
        # Whatever is written now would be read as part of the answer that has begun.
        raise ConnectionError("the answer has begun; another one cannot follow it")


def _presentable(answer: object, request: web.BaseRequest) -> web.Response:
    if type(answer) is web.Response:
        # Nearly always; aiohttp's classes are abstract ones, which makes asking for them slow.
        return answer
    if isinstance(answer, web.HTTPException):
        return from_http_exception(answer, request)
    return failure(TypeError("the handler returned no response"), request)


def _result(response: web.StreamResponse) -> str:
    """How a request ended, in the few words of the counter of tenants."""
    status = response.status
    if status < _REFUSED_FROM:
        return "ok"
    if status >= _FAILED_FROM:
        return "failed"
    if status == _THROTTLED:
        return "throttled"
    refused = refusal_of(response)
    is_fraud = refused is not None and refused.code is Code.FRAUD_REJECTED
    return "fraud_rejected" if is_fraud else "refused"


def _explained(error: BaseException | None) -> str:
    match error:
        case LineTooLong():
            return "A line of the head is longer than is read here."
        case InvalidHeader():
            return "A header is not well-formed."
        case BadStatusLine() | BadHttpMethod():
            return "The request line is not well-formed."
        case _:
            return "The request is not well-formed HTTP."
