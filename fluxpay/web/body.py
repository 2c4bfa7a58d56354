"""Reading the body of a request: its type, its size and its time are all bounded.

A declared length over the limit is refused before a byte is read, an undeclared one as soon as
it is over, and a body that does not arrive in time is given up. Must not know what bodies mean.
Source: RFC 9110, sections 8.3 and 10.1.1; RFC 8259, section 8.1.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from fluxpay.core.problems import Code, Refused
from fluxpay.web.context import DEADLINE, DOCUMENT, ROUTE
from fluxpay.web.problems import respond
from fluxpay.web.route import Gate, Route
from fluxpay.web.strict_json import MalformedJson, decode

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is read, and for how long."""

    body_max_bytes: int
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Document:
    """A decoded body."""

    value: object


def body_reading(limits: Limits) -> Gate:
    """Make the gate that decodes the body where the route has one."""

    def before(route: Route, handler: Handler) -> Handler:
        if route.body is None:
            return handler

        async def read(request: web.Request) -> web.StreamResponse:
            document = await read_document(request, limits)
            if isinstance(document, Refused):
                return respond(document, request)
            request[DOCUMENT] = document.value
            return await handler(request)

        return read

    return before


async def read_document(request: web.Request, limits: Limits) -> Document | Refused:
    """Read and decode the body, or say what is wrong with it."""
    route, refused = request[ROUTE], _media_type_refusal(request)
    if refused is not None and not route.body_is_optional:
        return refused
    most_bytes = max(limits.body_max_bytes, route.body_max_bytes)
    raw = await _read(request, most_bytes, timeout_s=limits.timeout_s)
    if isinstance(raw, Refused):
        return raw
    if route.body_is_optional and not raw:
        # Nothing was sent, so its type is of no account.
        return Document({})
    if refused is not None:
        return refused
    try:
        return Document(decode(raw))
    except MalformedJson as error:
        return Refused(Code.MALFORMED_JSON, error.detail)


async def defer_continue(request: web.Request) -> None:
    """Check what the client expects; whether the body may come is decided when it is wanted.

    Raises:
        web.HTTPExpectationFailed: It expects something that nobody here knows.
    """
    # Bound: aiohttp calls this with an Expect header only.
    if request.version >= HttpVersion11 and request.headers[hdrs.EXPECT].lower() != "100-continue":
        raise web.HTTPExpectationFailed


def _media_type_refusal(request: web.Request) -> Refused | None:
    codings = request.headers.getall(hdrs.CONTENT_ENCODING, ())
    if codings and any(coding.strip().lower() != "identity" for coding in codings):
        return Refused(Code.UNSUPPORTED_MEDIA_TYPE, "The body is compressed; send it plain.")
    types = request.headers.getall(hdrs.CONTENT_TYPE, ())
    if types == [_JSON]:
        return None
    if len(types) != 1 or request.content_type != _JSON:
        return Refused(Code.UNSUPPORTED_MEDIA_TYPE, f"The Content-Type must be {_JSON}.")
    if (request.charset or "utf-8").lower() not in {"utf-8", "utf8"}:
        return Refused(Code.UNSUPPORTED_MEDIA_TYPE, "The charset of JSON is UTF-8.")
    return None


async def _read(request: web.Request, at_most_bytes: int, *, timeout_s: float) -> bytes | Refused:
    if (request.content_length or 0) > at_most_bytes:
        return _too_large(at_most_bytes)
    content = request.content
    if content.is_eof() and content.exception() is None:
        # It came with the head, as small bodies do: no timer, no waiting.
        raw = content.read_nowait(-1)
        return raw if len(raw) <= at_most_bytes else _too_large(at_most_bytes)
    deadline = request[DEADLINE]
    # From here on the client's own pace counts, so the limit on our work rests meanwhile.
    deadline.pause()
    try:
        async with asyncio.timeout(timeout_s):
            raw = await _receive(request, at_most_bytes)
    except TimeoutError:
        return Refused(Code.BODY_TIMEOUT, f"The body did not arrive within {timeout_s:g} s.")
    except (web.RequestPayloadError, HttpProcessingError, ConnectionError):
        return Refused(Code.MALFORMED_REQUEST, "The body ended early or is framed wrongly.")
    finally:
        deadline.resume()
    return raw if len(raw) <= at_most_bytes else _too_large(at_most_bytes)


def _too_large(at_most_bytes: int) -> Refused:
    return Refused(Code.BODY_TOO_LARGE, f"The body is larger than {at_most_bytes} bytes.")


async def _receive(request: web.Request, at_most_bytes: int) -> bytes:
    """Read up to the end, or until it is known to be too much."""
    # A client of HTTP/1.0 knows no interim answers, whatever it says that it expects.
    if hdrs.EXPECT in request.headers and request.version >= HttpVersion11:
        await request.writer.write(_CONTINUE)
        # What was written is no part of the answer; without this the answer counts as begun.
        request.writer.output_size = 0
    raw = bytearray()
    while len(raw) <= at_most_bytes:
        chunk = await request.content.readany()
        if not chunk:
            break
        raw += chunk
    return bytes(raw)
