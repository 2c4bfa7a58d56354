"""The line of a request: which requests get one, what it says, and that all ids agree."""

from time import perf_counter
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from fluxpay.stores.problems import StoreUnavailable
from fluxpay.web import request_lines
from fluxpay.web.request_lines import RequestLines
from fluxpay.web.route import Route
from fluxpay.web.tracing import TRACE, Trace
from tests.conftest import Lines
from tests.web.conftest import Launch
from tests.web.service import RawConnection, Service

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


def answered(lines: Lines) -> list[dict[str, Any]]:
    return [line for line in lines() if line["event"] == "request_answered"]


def raising(error: Exception) -> Route:
    async def fail(_: web.Request) -> web.Response:
        raise error

    return Route("GET", "/test/fail/{id}", fail)


@pytest.fixture
async def service(launch: Launch) -> Service:
    """A service that writes a line for each request."""
    return await launch(log_requests=1.0)


async def test_a_line_says_what_was_asked_by_whom_and_how_it_ended(
    service: Service, lines: Lines
) -> None:
    before = len(answered(lines))
    paid = await service.pay(**{"X-Request-Id": "order-7"})
    await service.call("GET", f"/v1/payments/{paid.document['id']}?limit=1")
    first, second = answered(lines)[before:]
    for name in ("timestamp", "span_id", "duration_ms"):
        assert first.pop(name)
        assert second.pop(name)
    key_id = "key_" + service.api_key.split("_")[2]
    common = {
        "level": "info",
        "logger": "fluxpay.web",
        "event": "request_answered",
        "tenant_id": service.tenant_id,
        "key_id": key_id,
    }
    trace_id = paid.headers["traceparent"].split("-")[1]
    post = {"method": "POST", "route": "/v1/payments", "status": 201}
    assert {**common, **post, "trace_id": trace_id, "request_id": "order-7"} == first
    get = {"method": "GET", "route": "/v1/payments/{payment_id}", "status": 200}
    trace_id = second.pop("trace_id")
    # A client that names nothing finds its request by the trace.
    assert trace_id == second.pop("request_id")
    assert {**common, **get} == second


async def test_a_refusal_is_told_by_its_code_and_without_a_key_nobody_is_named(
    service: Service, lines: Lines
) -> None:
    answer = await service.call("GET", "/v1/payments", headers={"Authorization": "Bearer x"})
    line = answered(lines)[-1]
    assert (401, "unauthorized", "info") == (line["status"], line["problem"], line["level"])
    assert answer.document["trace_id"] == line["trace_id"]
    assert not {"tenant_id", "key_id"} & set(line)


async def test_what_the_client_made_up_is_not_taken_over(service: Service, lines: Lines) -> None:
    await service.call("GET", "/nowhere/4111111111111111?card=4111111111111111")
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(b"PROPFIND /pot HTTP/1.1\r\nHost: x\r\nX-Request-Id: a b\r\n\r\n")
        await connection.answer()
        await connection.send(b"no request\r\n\r\n")
        await connection.answer()
    nowhere, unusual, malformed = answered(lines)[-3:]
    assert ("GET", "unmatched", 404) == (nowhere["method"], nowhere["route"], nowhere["status"])
    assert ("_OTHER", "unmatched", 404) == (unusual["method"], unusual["route"], unusual["status"])
    assert unusual["trace_id"] == unusual["request_id"]
    assert (400, "malformed_request") == (malformed["status"], malformed["problem"])
    assert "4111111111111111" not in str(lines())


@pytest.mark.parametrize(
    ("error", "status", "level", "told"),
    [
        (StoreUnavailable("host db refused"), 503, "warning", "StoreUnavailable: host db refused"),
        (KeyError("of a customer"), 500, "error", None),
    ],
)
async def test_a_request_that_failed_has_one_trace_id_in_problem_headers_and_log(
    launch: Launch, lines: Lines, error: Exception, status: int, level: str, told: str | None
) -> None:
    service = await launch(routes=[raising(error)], log_requests=0.0)
    parent = f"00-{TRACE_ID}-b7ad6b7169203331-00"
    answer = await service.call("GET", "/test/fail/1", headers={"traceparent": parent})
    (line,) = answered(lines)
    assert (status, level, told) == (line["status"], line["level"], line.get("error"))
    assert "/test/fail/{id}" == line["route"]
    assert answer.status == status
    ids = [answer.document["trace_id"], answer.headers["traceparent"].split("-")[1]]
    faults = [one["trace_id"] for one in lines() if one["event"] == "request_failed"]
    assert {TRACE_ID} == {line["trace_id"], *ids, *faults}
    assert (1 if told is None else 0) == len(faults)
    assert line["span_id"] == answer.headers["traceparent"].split("-")[2]
    assert "of a customer" not in str(lines())


async def test_probes_get_a_line_only_when_they_fail(service: Service, lines: Lines) -> None:
    before = len(answered(lines))
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert 200 == (await service.admin("GET", path)).status
    assert [] == answered(lines)[before:]
    await service.call("GET", "/health/ready?require=luck")
    (line,) = answered(lines)[before:]
    assert ("/health/ready", 400) == (line["route"], line["status"])


async def test_of_all_requests_a_share_gets_a_line_and_every_recorded_one(
    launch: Launch, lines: Lines
) -> None:
    service = await launch(log_requests=0.5)
    before = len(answered(lines))
    low, high = "0" * 16 + "7" + "f" * 15, "0" * 16 + "8" + "0" * 15
    for trace_id, flags in ((low, "00"), (high, "00"), (high, "01")):
        parent = f"00-{trace_id}-b7ad6b7169203331-{flags}"
        await service.call("GET", "/v1/payments", headers={"traceparent": parent})
    assert [low, high] == [line["trace_id"] for line in answered(lines)[before:]]


@pytest.mark.parametrize("ratio", [0.0, 1e-9, 0.01, 0.25, 0.5, 0.999, 1.0])
def test_the_share_is_that_of_the_sampler_of_traces(ratio: float, lines: Lines) -> None:
    sampler, chosen = TraceIdRatioBased(ratio), RequestLines(ratio)
    edge = round(ratio * (1 << 64))
    ids = [0, 1, edge - 1, edge, edge + 1, (1 << 64) - 1, *range(7, 1 << 64, (1 << 64) // 50)]
    for low in ids:
        if not 0 <= low < 1 << 64:
            continue
        trace_id = (0xABCDEF << 64) + low
        expected = sampler.should_sample(None, trace_id, "x").decision is Decision.RECORD_AND_SAMPLE
        before = len(lines())
        chosen.answered(*an_answer(f"{trace_id:032x}", started_s=perf_counter()))
        assert expected == (len(lines()) > before), f"{low:x}"


def test_a_slow_request_always_gets_its_line(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    for elapsed_s in (request_lines.SLOW_S - 0.001, request_lines.SLOW_S + 0.001):
        monkeypatch.setattr(request_lines, "perf_counter", lambda elapsed_s=elapsed_s: elapsed_s)
        RequestLines(0.0).answered(*an_answer("f" * 32, started_s=0.0))
    (line,) = lines()
    assert 1001.0 == line["duration_ms"]


def an_answer(trace_id: str, *, started_s: float) -> tuple[web.BaseRequest, web.Response]:
    request = make_mocked_request("GET", "/any")
    request[TRACE] = Trace(trace_id, "b" * 16, trace_id, is_sampled=False, started_s=started_s)
    return request, web.Response()
