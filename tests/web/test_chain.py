"""The chain as a client meets it: what each gate refuses, and which gate speaks first."""

import asyncio
import json
import re
import uuid
from typing import Any

import pytest
from aiohttp import web

from fluxpay.core.credentials import mint
from fluxpay.core.keys import Scope
from fluxpay.core.problems import PROBLEMS, Code
from fluxpay.core.tenants import Environment
from fluxpay.stores.problems import (
    OutcomeUnknown,
    PoolExhausted,
    SerializationLost,
    StatementTimedOut,
    StoreError,
    StoreUnavailable,
)
from fluxpay.web.route import Route
from tests.conftest import Lines
from tests.web.conftest import Launch
from tests.web.service import PAYMENT, Answer, RawConnection, Service, request_bytes

# A key of the right form and checksum that nobody registered.
UNREGISTERED = mint(Environment.TEST, "key_01h455vb4pex5vsknk084sn02q", bytes(24))
ON_EVERY_ANSWER = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Server": "FluxPay",
    "X-Content-Type-Options": "nosniff",
}


def assert_problem(expected: Code, answer: Answer, *, instance: str) -> None:
    """Check every member that every problem has, and the headers of its status."""
    document, problem = answer.document, PROBLEMS[expected]
    assert (problem.status, expected) == (answer.status, answer.code), answer.body
    trace_id = document["trace_id"]
    wanted = {
        "type": f"/problems/{expected}",
        "title": problem.title,
        "status": problem.status,
        "instance": instance,
        "code": expected,
        "trace_id": answer.headers["traceparent"].split("-")[1],
    }
    assert wanted == {name: document[name] for name in wanted}
    assert re.fullmatch(r"[0-9a-f]{32}", trace_id)
    assert document["detail"]
    assert ON_EVERY_ANSWER == {name: answer.headers[name] for name in ON_EVERY_ANSWER}
    assert answer.headers["X-Request-Id"]
    needed = {401: "WWW-Authenticate", 405: "Allow", 415: "Accept", 429: "Retry-After"}
    needed |= {503: "Retry-After"}
    if problem.status in needed:
        assert answer.headers[needed[problem.status]]


async def test_a_payment_is_made_and_its_twin_gets_the_same_bytes(service: Service) -> None:
    first = await service.pay("k1")
    assert (201, None) == (first.status, first.headers.get("Idempotent-Replayed")), first.body
    assert f"/v1/payments/{first.document['id']}" == first.headers["Location"]
    second = await service.pay("k1")
    assert (201, first.body) == (second.status, second.body)
    assert "true" == second.headers["Idempotent-Replayed"]
    assert first.headers["Location"] == second.headers["Location"]


async def test_an_answer_wears_its_headers(service: Service) -> None:
    answer = await service.pay()
    assert ON_EVERY_ANSWER == {name: answer.headers[name] for name in ON_EVERY_ANSWER}
    assert "application/json" == answer.headers["Content-Type"]
    assert "Strict-Transport-Security" not in answer.headers
    assert '"default";q=6000;w=60' == answer.headers["RateLimit-Policy"]
    assert re.fullmatch(r'"default";r=599[0-9];t=\d+', answer.headers["RateLimit"])


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/", Code.NOT_FOUND),
        ("GET", "/v1/payments/", Code.NOT_FOUND),
        ("GET", "/v1/nothing%2f..%2f", Code.NOT_FOUND),
        ("PUT", "/v1/payments", Code.METHOD_NOT_ALLOWED),
        ("OPTIONS", "/v1/payments", Code.METHOD_NOT_ALLOWED),
        ("DELETE", "/health/live", Code.METHOD_NOT_ALLOWED),
    ],
)
async def test_an_unknown_path_or_method_is_told_before_the_key_is_asked_for(
    service: Service, method: str, path: str, code: Code
) -> None:
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(request_bytes(method, path))
        answer = await connection.answer()
    assert_problem(code, answer, instance=path)


async def test_a_405_names_the_methods_of_the_path(service: Service) -> None:
    answer = await service.call("PATCH", "/v1/payments")
    assert (405, "GET, HEAD, POST") == (answer.status, answer.headers["Allow"])


async def test_what_can_be_read_can_be_asked_for_its_head(service: Service) -> None:
    whole, head = [await service.call(method, "/v1/payments") for method in ("GET", "HEAD")]
    assert (200, b"") == (head.status, head.body)
    assert str(len(whole.body)) == head.headers["Content-Length"]


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "Bearer fp_test_typo",
        f"Bearer {UNREGISTERED}",
        "Bearer \u00e9\u00e9",
    ],
)
async def test_without_a_valid_key_nothing_is_answered(
    service: Service, authorization: str | None
) -> None:
    headers = [("Authorization", authorization)] if authorization is not None else []
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(request_bytes("GET", headers=headers))
        answer = await connection.answer()
    assert_problem(Code.UNAUTHORIZED, answer, instance="/v1/payments")
    assert "Bearer" == answer.headers["WWW-Authenticate"]


async def test_a_revoked_key_is_refused_at_once(service: Service) -> None:
    revoked = await service.new_key()
    keys = await service.admin("GET", f"/admin/v1/tenants/{service.tenant_id}/keys")
    for key in keys.document["data"]:
        path = f"/admin/v1/tenants/{service.tenant_id}/keys/{key['id']}"
        assert 200 == (await service.admin("DELETE", path)).status
    answer = await service.pay(Authorization=f"Bearer {revoked}")
    assert_problem(Code.UNAUTHORIZED, answer, instance="/v1/payments")


async def test_two_authorization_headers_are_none(service: Service) -> None:
    both = [("Authorization", f"Bearer {service.api_key}")] * 2
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(request_bytes("GET", headers=both))
        assert_problem(Code.UNAUTHORIZED, await connection.answer(), instance="/v1/payments")


async def test_a_key_without_the_scope_is_refused_and_told_which(service: Service) -> None:
    reader = await service.new_key(scopes=["payments:read"])
    answer = await service.pay(Authorization=f"Bearer {reader}")
    assert_problem(Code.SCOPE_MISSING, answer, instance="/v1/payments")
    assert "payments:write" == answer.document["scope"]


async def test_a_key_is_refused_outside_its_networks(service: Service) -> None:
    elsewhere = await service.new_key(allowed_cidrs=["203.0.113.0/24"])
    answer = await service.pay(Authorization=f"Bearer {elsewhere}")
    assert_problem(Code.ADDRESS_NOT_ALLOWED, answer, instance="/v1/payments")
    here = await service.new_key(allowed_cidrs=["127.0.0.0/8"])
    assert 201 == (await service.pay(Authorization=f"Bearer {here}")).status


async def test_a_suspended_tenant_is_refused(service: Service) -> None:
    spec = {
        "generation": 2,
        "display_name": "Test tenant",
        "environment": "test",
        "state": "suspended",
        "currencies": ["EUR"],
    }
    path = f"/admin/v1/tenants/{service.tenant_id}"
    assert 200 == (await service.admin("PUT", path, json=spec)).status
    assert_problem(Code.TENANT_SUSPENDED, await service.pay(), instance="/v1/payments")


async def test_over_its_quota_a_tenant_is_told_when_to_come_back(service: Service) -> None:
    quota = {"name": "few", "requests": 2, "window_s": 3600}
    tenant = await service.for_new_tenant(rate_limits=[quota])
    assert [201, 201, 429] == [(await tenant.pay()).status for _ in range(3)]
    answer = await tenant.pay()
    assert_problem(Code.RATE_LIMITED, answer, instance="/v1/payments")
    assert '"few";q=2;w=3600' == answer.headers["RateLimit-Policy"]
    assert answer.headers["RateLimit"].startswith('"few";r=0;t=')
    assert int(answer.headers["Retry-After"]) >= 1
    # Reading counts as well, and another tenant is not concerned.
    assert 429 == (await tenant.call("GET", "/v1/payments")).status
    assert 201 == (await service.pay()).status


async def test_each_gate_speaks_before_the_next_one(service: Service) -> None:
    quota = {"name": "one", "requests": 1, "window_s": 3600}
    tenant = await service.for_new_tenant(rate_limits=[quota])
    broken: dict[str, Any] = {"data": b'{"amount": NaN', "headers": {"Content-Type": "text/plain"}}
    # Over quota, without an idempotency key, of the wrong type and malformed: the wrong bearer
    # comes first, and costs no quota.
    wrong = {"headers": broken["headers"] | {"Authorization": "Bearer wrong"}}
    for _ in range(3):
        answer = await tenant.call("POST", "/v1/payments", **(broken | wrong))
        assert Code.UNAUTHORIZED == answer.code
        assert "RateLimit" not in answer.headers
    # Within the quota, the key is missed before the body is looked at; that took the quota.
    answer = await tenant.call("POST", "/v1/payments", **broken)
    assert Code.IDEMPOTENCY_KEY_MISSING == answer.code
    assert answer.headers["RateLimit"].startswith('"one";r=0;')
    assert Code.RATE_LIMITED == (await tenant.call("POST", "/v1/payments", **broken)).code
    # Of the rest, in order: key, media type, JSON, fields.
    keyed = {"Idempotency-Key": "k"}
    sent = [
        ("text/plain", b"{", {"Idempotency-Key": "\u00e9"}, Code.IDEMPOTENCY_KEY_MALFORMED),
        ("text/plain", b"{", keyed, Code.UNSUPPORTED_MEDIA_TYPE),
        ("application/json", b"{", keyed, Code.MALFORMED_JSON),
        ("application/json", b"{}", keyed, Code.VALIDATION_FAILED),
    ]
    for kind, data, headers, code in sent:
        answer = await service.call(
            "POST", "/v1/payments", data=data, headers={"Content-Type": kind} | headers
        )
        assert_problem(code, answer, instance="/v1/payments")
        assert "RateLimit" in answer.headers


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "text/json",
        "application/jsonp",
        "application/json; charset=latin-1",
        "application/json, application/json",
        "multipart/form-data; boundary=x",
    ],
)
async def test_only_json_in_utf_8_is_read(service: Service, kind: str | None) -> None:
    headers = [("Authorization", f"Bearer {service.api_key}"), ("Idempotency-Key", "k")]
    headers += [("Content-Type", kind)] if kind is not None else []
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(request_bytes(headers=headers, body=json.dumps(PAYMENT).encode()))
        answer = await connection.answer()
    assert_problem(Code.UNSUPPORTED_MEDIA_TYPE, answer, instance="/v1/payments")
    assert "application/json" == answer.headers["Accept"]


@pytest.mark.parametrize(
    "kind",
    ["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'],
)
async def test_json_in_utf_8_is_read_however_it_is_written(service: Service, kind: str) -> None:
    data = json.dumps(PAYMENT).encode()
    headers = {"Content-Type": kind, "Idempotency-Key": "k"}
    assert 201 == (await service.call("POST", "/v1/payments", data=data, headers=headers)).status


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip", "unknown"])
async def test_a_compressed_body_is_refused_unread(service: Service, coding: str) -> None:
    headers = {
        "Authorization": f"Bearer {service.api_key}",
        "Idempotency-Key": "k",
        "Content-Type": "application/json",
        "Content-Encoding": coding,
    }
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(request_bytes(headers=headers, body=b"\x1f\x8b not gzip at all"))
        answer = await connection.answer()
    assert_problem(Code.UNSUPPORTED_MEDIA_TYPE, answer, instance="/v1/payments")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe",
        b'{"amount":NaN}',
        b'{"amount":-Infinity}',
        b'{"amount":1e999}',
        b'{"amount":' + b"9" * 5_000 + b"}",
        b"[" * 30_000 + b"]" * 30_000,
        b'{"amount":1,"amount":2}',
        b'{"\\ud800":1,"\\ud800":2}',
        b'{"reference":"\\u0000"}',
        b'{"reference":"\\udc00"}',
        b'{"amount":1} trailing',
        b"{'amount':1}",
    ],
)
async def test_no_malformed_body_becomes_a_fault(service: Service, body: bytes) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    answer = await service.call("POST", "/v1/payments", data=body, headers=headers)
    assert_problem(Code.MALFORMED_JSON, answer, instance="/v1/payments")


async def test_ids_of_the_client_come_back(service: Service) -> None:
    trace_id = uuid.uuid4().hex
    headers = {"X-Request-Id": "order-7!", "traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    answer = await service.call("GET", "/nowhere", headers=headers)
    assert "order-7!" == answer.headers["X-Request-Id"]
    version, told, span_id, flags = answer.headers["traceparent"].split("-")
    assert ("00", trace_id, "01") == (version, told, flags)
    assert "00f067aa0ba902b7" != span_id
    assert trace_id == answer.document["trace_id"]


@pytest.mark.parametrize("request_id", ["", " ", "x" * 129, "two words", "\u00e9"])
async def test_an_unusable_request_id_is_replaced(service: Service, request_id: str) -> None:
    async with RawConnection.to(service.api_url) as connection:
        sent = request_bytes("GET", "/health/live", headers={"X-Request-Id": request_id})
        await connection.send(sent)
        answer = await connection.answer()
    trace_id = answer.headers["traceparent"].split("-")[1]
    assert trace_id == answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    "traceparent", ["", "00-0-0-0", f"00-{'0' * 32}-{'1' * 16}-01", f"ff-{'1' * 32}-{'1' * 16}-01"]
)
async def test_an_invalid_traceparent_is_replaced(service: Service, traceparent: str) -> None:
    answer = await service.call("GET", "/health/live", headers={"traceparent": traceparent})
    told = answer.headers["traceparent"]
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", told)
    assert f"00-{'0' * 32}" != told[:35]


async def crash(_: web.Request) -> web.Response:
    raise RuntimeError("secret of the inside")


async def forget(_: web.Request) -> web.Response:
    return None  # type: ignore[return-value]


def failing_with(error: Exception) -> Route:
    async def fail(_: web.Request) -> web.Response:
        raise error

    return Route("GET", "/test/fail", fail, scope=Scope.PAYMENTS_READ)


@pytest.mark.parametrize("handler", [crash, forget])
async def test_a_fault_shows_nothing_and_is_logged_once(
    launch: Launch, lines: Lines, handler: Any
) -> None:
    service = await launch(routes=[Route("GET", "/test/fault", handler)])
    answer = await service.call("GET", "/test/fault", headers={"X-Secret": "of the client"})
    assert_problem(Code.INTERNAL_ERROR, answer, instance="/test/fault")
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body
    trace_id = answer.document["trace_id"]
    failed, answered = (line for line in lines() if line.get("trace_id") == trace_id)
    assert ("request_failed", "/test/fault") == (failed["event"], failed["route"])
    assert "Error" in failed["exception"]
    assert ("request_answered", 500) == (answered["event"], answered["status"])
    assert "of the client" not in str(lines())
    assert service.api_key not in str(lines())


@pytest.mark.parametrize(
    "kind",
    [StoreUnavailable, PoolExhausted, OutcomeUnknown, StatementTimedOut, SerializationLost],
)
async def test_a_store_that_is_gone_is_a_503_to_retry(
    launch: Launch, kind: type[StoreError]
) -> None:
    service = await launch(routes=[failing_with(kind("host db.internal refused"))])
    answer = await service.call("GET", "/test/fail")
    assert_problem(Code.SERVICE_UNAVAILABLE, answer, instance="/test/fail")
    assert b"db.internal" not in answer.body
    # The rate limit was passed on the way in, and is told on the way out.
    assert "RateLimit" in answer.headers


async def test_an_exception_of_aiohttp_is_a_problem_as_well(launch: Launch) -> None:
    service = await launch(routes=[failing_with(web.HTTPNotFound(text="plain text"))])
    answer = await service.call("GET", "/test/fail")
    assert_problem(Code.NOT_FOUND, answer, instance="/test/fail")


async def test_a_request_that_takes_too_long_is_given_up(launch: Launch) -> None:
    async def sleep(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    service = await launch(routes=[Route("GET", "/test/slow", sleep)], request_timeout_s=1)
    answer = await service.call("GET", "/test/slow")
    assert_problem(Code.SERVICE_UNAVAILABLE, answer, instance="/test/slow")
