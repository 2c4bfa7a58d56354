"""The wire itself: bytes that no client library would send, and the answers to them."""

import asyncio
import json
import logging

import pytest
from aiohttp import web

from fluxpay.core.problems import Code
from fluxpay.web.route import Route
from tests.conftest import Lines
from tests.web.conftest import Launch
from tests.web.service import PAYMENT, RawConnection, Service, request_bytes
from tests.web.test_chain import ON_EVERY_ANSWER, assert_problem

LIVE = b"GET /health/live HTTP/1.1\r\nHost: test\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GARBAGE\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTP/1.1\r\n\r\n",
        b"FOO /v1/payments HTTP/1.1\r\nHost: test\r\n\r\n",
        b"get /v1/payments HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: test\r\n: no name\r\n\r\n",
        LIVE + b"Bad Name: 1\r\n\r\n",
        LIVE + b"No colon\r\n\r\n",
        LIVE + b"X: a\x00b\r\n\r\n",
        LIVE + b" folded: 1\r\n\r\n",
        LIVE + b"X-Long: " + b"x" * 9_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: test\r\n\r\n",
        LIVE + b"".join(b"X-%d: 1\r\n" % number for number in range(200)) + b"\r\n",
        LIVE + b"Content-Length: -1\r\n\r\n",
        LIVE + b"Content-Length: ten\r\n\r\n",
        LIVE + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        LIVE + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        LIVE + b"Transfer-Encoding: gzip\r\n\r\n",
        LIVE + b"Host: other\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_a_problem(service: Service, sent: bytes) -> None:
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(sent)
        answer = await connection.answer()
        assert_problem(Code.MALFORMED_REQUEST, answer, instance="/")
        assert "close" == answer.headers["Connection"].lower()
        assert await connection.is_closed()


async def test_a_parser_error_shows_and_logs_nothing_of_what_was_sent(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with RawConnection.to(service.api_url) as connection:
            await connection.send(LIVE + b"Bad Name: sesame\r\n\r\n")
            answer = await connection.answer()
    assert b"sesame" not in answer.body
    assert "sesame" not in caplog.text


@pytest.mark.parametrize("port", ["api", "admin"])
async def test_both_ports_answer_alike(service: Service, port: str) -> None:
    url = service.api_url if port == "api" else service.admin_url
    for sent, code, instance in [
        (b"GARBAGE\r\n\r\n", Code.MALFORMED_REQUEST, "/"),
        (request_bytes("GET", "/nowhere"), Code.NOT_FOUND, "/nowhere"),
        (LIVE + b"Expect: miracles\r\n\r\n", Code.EXPECTATION_FAILED, "/health/live"),
    ]:
        async with RawConnection.to(url) as connection:
            await connection.send(sent)
            assert_problem(code, await connection.answer(), instance=instance)


async def test_odd_targets_are_answered(service: Service) -> None:
    for method, target, status in [
        ("OPTIONS", "*", 404),
        ("GET", "http://elsewhere.test/health/live", 200),
        ("GET", "//health/live", 404),
        ("GET", "/health/live?%ff=%00&=&&", 200),
        ("GET", "/health/live#fragment", 200),
        ("GET", "/%00%ff%F0%9F%98%80", 404),
        ("CONNECT", "elsewhere.test:443", 404),
    ]:
        async with RawConnection.to(service.api_url) as connection:
            await connection.send(request_bytes(method, target))
            answer = await connection.answer()
        assert (target, status) == (target, answer.status)
        assert ON_EVERY_ANSWER == {name: answer.headers[name] for name in ON_EVERY_ANSWER}


async def test_a_connection_lives_on_after_an_error(service: Service) -> None:
    bearer = ("Authorization", f"Bearer {service.api_key}")
    kind = ("Content-Type", "application/json")
    body = json.dumps(PAYMENT).encode()
    async with RawConnection.to(service.api_url) as connection:
        for sent, status in [
            (request_bytes(body=body), 401),
            (request_bytes("GET", "/nowhere"), 404),
            (request_bytes(headers=[bearer, kind], body=body), 400),
            (request_bytes(headers=[bearer, ("Idempotency-Key", "k")], body=body), 415),
            (request_bytes(headers=[bearer, kind, ("Idempotency-Key", "k")], body=body), 201),
        ]:
            await connection.send(sent)
            answer = await connection.answer()
            assert (status, None) == (answer.status, answer.headers.get("Connection"))


async def test_pipelined_requests_are_answered_in_their_order(service: Service) -> None:
    async with RawConnection.to(service.api_url) as connection:
        wanted = ["/health/live", "/nowhere", "/v1/payments", "/health/live"]
        await connection.send(b"".join(request_bytes("GET", path) for path in wanted))
        assert [200, 404, 401, 200] == [(await connection.answer()).status for _ in wanted]


async def test_a_body_over_the_limit_is_refused_before_it_is_sent(service: Service) -> None:
    headers = {
        "Authorization": f"Bearer {service.api_key}",
        "Idempotency-Key": "k",
        "Content-Type": "application/json",
        "Content-Length": str(10_000_000_000),
    }
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(request_bytes(headers=headers, length=False))
        answer = await connection.answer(within_s=2)
        assert_problem(Code.BODY_TOO_LARGE, answer, instance="/v1/payments")
        assert "65536" in answer.document["detail"]
        assert "close" == answer.headers["Connection"]
        assert await connection.is_closed()


async def test_a_streamed_body_is_refused_once_it_is_over_the_limit(service: Service) -> None:
    headers = {
        "Authorization": f"Bearer {service.api_key}",
        "Idempotency-Key": "k",
        "Content-Type": "application/json",
        "Transfer-Encoding": "chunked",
    }
    chunk = b"2000\r\n" + b" " * 0x2000 + b"\r\n"
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(request_bytes(headers=headers, length=False))
        for _ in range(9):
            await connection.send(chunk)
        answer = await connection.answer()
        assert_problem(Code.BODY_TOO_LARGE, answer, instance="/v1/payments")
        assert await connection.is_closed()


async def test_a_body_of_exactly_the_limit_is_read(service: Service) -> None:
    body = json.dumps(PAYMENT).encode().ljust(65_536)
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    answer = await service.call("POST", "/v1/payments", data=body, headers=headers)
    assert 201 == answer.status
    longer = await service.call("POST", "/v1/payments", data=body + b" ", headers=headers)
    assert Code.BODY_TOO_LARGE == longer.code


@pytest.mark.parametrize("rest", [b"zz\r\n", b"5\r\nab\r\n\r\n\r\n", b"-1\r\n\r\n"])
async def test_a_badly_framed_body_is_a_problem(service: Service, rest: bytes) -> None:
    headers = {
        "Authorization": f"Bearer {service.api_key}",
        "Idempotency-Key": "k",
        "Content-Type": "application/json",
        "Transfer-Encoding": "chunked",
    }
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(request_bytes(headers=headers, length=False) + b"1\r\n{\r\n")
        await asyncio.sleep(0.05)
        await connection.send(rest)
        answer = await connection.answer()
        assert_problem(Code.MALFORMED_REQUEST, answer, instance="/v1/payments")
        assert await connection.is_closed()


async def test_a_body_is_asked_for_only_once_its_sender_is_known(service: Service) -> None:
    body = json.dumps(PAYMENT).encode()
    headers = {
        "Idempotency-Key": "k",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Expect": "100-continue",
    }
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(request_bytes(headers=headers, length=False))
        answer = await connection.answer()
        assert_problem(Code.UNAUTHORIZED, answer, instance="/v1/payments")
        assert "close" == answer.headers["Connection"]
        assert [401] == [answer.status for answer in connection.received]
        assert await connection.is_closed()
    headers |= {"Authorization": f"Bearer {service.api_key}"}
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(request_bytes(headers=headers, length=False))
        async with asyncio.timeout(10):
            assert b"HTTP/1.1 100 Continue\r\n\r\n" == await connection.reader.readexactly(25)
        await connection.send(body)
        answer = await connection.answer()
        assert 201 == answer.status
        assert ON_EVERY_ANSWER == {name: answer.headers[name] for name in ON_EVERY_ANSWER}


async def test_a_client_of_http_1_0_gets_no_interim_answer(service: Service) -> None:
    body = json.dumps(PAYMENT).encode()
    headers = {
        "Authorization": f"Bearer {service.api_key}",
        "Idempotency-Key": "k",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Expect": "100-continue",
    }
    sent = request_bytes(headers=headers, length=False).replace(b"HTTP/1.1", b"HTTP/1.0")
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(sent)
        await asyncio.sleep(0.1)
        await connection.send(body)
        assert 201 == (await connection.answer()).status
        assert [201] == [answer.status for answer in connection.received]


async def test_an_answer_that_has_begun_is_cut_and_not_followed_by_another(
    launch: Launch, lines: Lines
) -> None:
    async def begin(request: web.Request) -> web.Response:
        response = web.Response(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half of it")
        raise RuntimeError("half way")

    service = await launch(routes=[Route("GET", "/test/half", begin)])
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(request_bytes("GET", "/test/half"))
        async with asyncio.timeout(10):
            received = await connection.reader.read()
    assert received.endswith(b"half of it")
    assert 1 == received.count(b"HTTP/1.1")
    (failed,) = (line for line in lines() if line["event"] == "request_failed")
    assert ["RuntimeError"] == failed["exception"].splitlines()[-1:]
