"""Heads of answers, line by line, as they come off the wire."""

import asyncio
import io
import re

import pytest
from aiohttp import web

from fluxpay.core.problems import Code
from fluxpay.web.route import Route
from tests.web.conftest import Launch
from tests.web.service import RawConnection, Service, request_bytes
from tests.web.test_chain import assert_problem

ALWAYS = [
    "Cache-Control: no-store",
    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy: no-referrer",
    "Server: FluxPay",
    "X-Content-Type-Options: nosniff",
    "X-Request-Id: test",
    "traceparent: …",
]


def probe(version: str, *lines: str) -> bytes:
    head = [f"GET /health/live HTTP/{version}", "Host: test", "X-Request-Id: test", *lines]
    return "\r\n".join([*head, "", ""]).encode()


async def lines_of(service: Service, sent: bytes) -> list[str]:
    """The lines of an answer's head; what is new in each is left out."""
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(sent)
        head = (await connection.reader.readuntil(b"\r\n\r\n")).decode("ascii")
    days, months = "Mon|Tue|Wed|Thu|Fri|Sat|Sun", "(Jan|Feb|Ma[ry]|Apr|Ju[nl]|Aug|Sep|Oct|Nov|Dec)"
    head = re.sub(rf"Date: ({days}), \d\d {months} \d{{4}} \d\d:\d\d:\d\d GMT", "Date: …", head)
    head = re.sub(r"traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-00", "traceparent: …", head)
    return head.removesuffix("\r\n\r\n").split("\r\n")


@pytest.mark.parametrize(
    ("sent", "status", "connection"),
    [
        (probe("1.1"), "HTTP/1.1 200 OK", []),
        (probe("1.1", "Connection: keep-alive"), "HTTP/1.1 200 OK", []),
        (probe("1.1", "Connection: close"), "HTTP/1.1 200 OK", ["Connection: close"]),
        (probe("1.0"), "HTTP/1.0 200 OK", []),
        (probe("1.0", "Connection: close"), "HTTP/1.0 200 OK", []),
        (probe("1.0", "Connection: keep-alive"), "HTTP/1.0 200 OK", ["Connection: keep-alive"]),
    ],
)
async def test_a_head_has_these_lines_in_this_order(
    service: Service, sent: bytes, status: str, connection: list[str]
) -> None:
    form = ["Content-Length: 15", "Date: …", *connection]
    expected = [status, "Content-Type: application/json", *ALWAYS, *form]
    assert expected == await lines_of(service, sent)


async def test_a_header_that_a_handler_sets_stands_once_however_it_is_spelt(launch: Launch) -> None:
    async def keep(_request: web.Request) -> web.Response:
        return web.Response(headers={"cache-control": "max-age=9", "X-Own": "1"})

    service = await launch(routes=[Route("GET", "/test/kept", keep)])
    sent = request_bytes("GET", "/test/kept", headers={"X-Request-Id": "test"})
    form = ["Content-Length: 0", "Date: …"]
    expected = ["HTTP/1.1 200 OK", "cache-control: max-age=9", "X-Own: 1", *ALWAYS[1:], *form]
    assert expected == await lines_of(service, sent)


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
async def test_nothing_is_sent_of_an_answer_whose_header_holds_the_end_of_a_line(
    launch: Launch, end: str
) -> None:
    async def split(_request: web.Request) -> web.Response:
        return web.Response(headers={"X-Own": f"1{end}Set-Cookie: is=mine"})

    service = await launch(routes=[Route("GET", "/test/split", split)])
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(request_bytes("GET", "/test/split"))
        assert b"" == await connection.reader.read()


async def test_nothing_is_sent_of_an_answer_that_is_not_whole(launch: Launch) -> None:
    async def answer_in_parts(_request: web.Request) -> web.Response:
        return web.Response(body=io.BytesIO(b"one part"))

    service = await launch(routes=[Route("GET", "/test/parts", answer_in_parts)])
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(request_bytes("GET", "/test/parts"))
        assert b"" == await connection.reader.read()


async def test_a_client_that_reads_nothing_gets_no_more_answers_made(launch: Launch) -> None:
    asked, made = 1_000, 0

    async def answer_at_length(_request: web.Request) -> web.Response:
        nonlocal made
        made += 1
        return web.Response(body=bytes(60_000))

    service = await launch(routes=[Route("GET", "/test/long", answer_at_length)])
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(request_bytes("GET", "/test/long") * asked)
        before = -1
        while made != before:
            before = made
            await asyncio.sleep(0.2)
    assert 0 < made < asked


async def test_a_handler_that_answers_with_no_response_has_failed(launch: Launch) -> None:
    async def answer_oddly(_request: web.Request) -> web.Response:
        return web.StreamResponse()  # type: ignore[return-value]

    service = await launch(routes=[Route("GET", "/test/odd", answer_oddly)])
    answer = await service.call("GET", "/test/odd")
    assert_problem(Code.INTERNAL_ERROR, answer, instance="/test/odd")
