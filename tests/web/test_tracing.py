"""Spans as a collector receives them: whose they are, what they say, and what they never cost."""

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from fluxpay.embedded.postgres import SOCKET, EmbeddedPostgres
from fluxpay.observability import logs
from fluxpay.observability.spans import recorder, spans_counted
from fluxpay.observability.trace_settings import TraceSettings
from fluxpay.settings import Settings
from tests.collector import Collector, Received
from tests.conftest import Database
from tests.faults.proxy import FaultProxy
from tests.web.conftest import Launch
from tests.web.service import PAYMENT, Answer, Service, started

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE_ID}-{SPAN_ID}-01", f"00-{TRACE_ID}-{SPAN_ID}-00"
SECRET = "Bearer a-token-of-the-collector"


def traces_to(endpoint: str, **changes: Any) -> TraceSettings:
    sent_soon = TraceSettings(endpoint, "fluxpay-api", delay_ms=20, timeout_s=5.0)
    return replace(sent_soon, **changes)


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as running:
        yield running


@pytest.fixture
async def traced(launch: Launch, collector: Collector) -> Service:
    """A service that records every trace."""
    return await launch(traces=traces_to(collector.endpoint))


class Lines(logging.Handler):
    """Keeps what is logged as the lines that the process would write."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logs.formatter("json"))
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))

    def of(self, *events: str) -> list[dict[str, Any]]:
        """The lines of these events."""
        found = [json.loads(text) for text in self.texts]
        return [one for one in found if one["event"] in events]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Lines]:
    caplog.set_level(logging.DEBUG)
    keeping = Lines()
    logging.getLogger().addHandler(keeping)
    yield keeping
    logging.getLogger().removeHandler(keeping)


def trace_id_of(answer: Answer) -> str:
    return answer.headers["traceparent"].split("-")[1]


def named(spans: list[Received], name: str) -> Received:
    (found,) = [one for one in spans if one.name == name]
    return found


async def test_a_failing_request_is_found_by_one_id_from_its_problem_to_its_spans(
    settings: Settings,
    database: Database,
    postgres: EmbeddedPostgres,
    collector: Collector,
    lines: Lines,
) -> None:
    async with FaultProxy(postgres.sockets / SOCKET) as proxy:
        url = f"postgresql://fluxpay_app@{proxy.host}:{proxy.port}/{database.name}"
        behind = replace(settings, database_url=url)
        async with started(behind, traces=traces_to(collector.endpoint)) as plain:
            service = await plain.for_new_tenant()
            assert 201 == (await service.pay()).status
            await proxy.refuse()
            answer = await service.pay()
            assert (503, "service_unavailable") == (answer.status, answer.code)
            trace_id = trace_id_of(answer)
            spans = await collector.trace(trace_id)
    assert trace_id == answer.document["trace_id"]
    assert trace_id == answer.headers["X-Request-Id"]
    told = [one for one in map(json.loads, lines.texts) if one["level"] == "warning"]
    assert trace_id in {one.get("trace_id") for one in told}
    server = named(spans, "POST /v1/payments")
    assert answer.headers["traceparent"] == f"00-{trace_id}-{server.span_id}-01"
    assert server.is_error
    assert "503" == server.attributes["error.type"]
    post = named(spans, "PostPayment payments")
    assert post.is_error
    assert {
        "db.system.name": "postgresql",
        "db.operation.name": "PostPayment",
        "db.collection.name": "payments",
        "db.namespace": database.name,
        "server.address": proxy.host,
        "server.port": proxy.port,
        "error.type": "StoreUnavailable",
    } == post.attributes
    count = named(spans, "CountRequest")
    assert not count.is_error
    assert "CLIENT" == count.kind == post.kind
    assert {"redis", "CountRequest", "0"} <= set(count.attributes.values())
    assert {"db.system.name", "db.operation.name", "db.namespace", "server.address"} <= set(
        count.attributes
    )
    assert {server.span_id} == {one.parent_id for one in spans if one is not server}


async def test_a_payment_has_a_span_of_its_own_and_one_for_each_effect(
    traced: Service, collector: Collector
) -> None:
    answer = await traced.pay(**{"X-Request-Id": "order-7"})
    spans = await collector.trace(trace_id_of(answer))
    server = named(spans, "POST /v1/payments")
    host, _, port = traced.api_url.removeprefix("http://").partition(":")
    assert {
        "http.request.method": "POST",
        "http.route": "/v1/payments",
        "http.response.status_code": 201,
        "url.path": "/v1/payments",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "server.address": host,
        "server.port": int(port),
        "client.address": "127.0.0.1",
        "fluxpay.request.id": "order-7",
        "fluxpay.tenant.id": traced.tenant_id,
        "fluxpay.key.id": server.attributes["fluxpay.key.id"],
    } == server.attributes
    assert server.attributes["fluxpay.key.id"].startswith("key_")
    assert ("SERVER", "", False) == (server.kind, server.parent_id, server.is_error)
    assert {
        "FindApiKey api_keys": "CLIENT",
        "CountRequest": "CLIENT",
        "ReadReply": "CLIENT",
        "PostPayment payments": "CLIENT",
    } == {one.name: one.kind for one in spans if one is not server}
    for one in spans:
        assert server.started_ns <= one.started_ns <= one.ended_ns <= server.ended_ns
    assert "fluxpay-api" == server.resource["service.name"]
    again = await traced.pay()
    from_memory = named(await collector.trace(trace_id_of(again)), "FindApiKey")
    assert ("INTERNAL", {}) == (from_memory.kind, from_memory.attributes)


async def test_a_commit_and_the_payments_it_took_link_to_one_another(
    traced: Service, collector: Collector
) -> None:
    answers = await asyncio.gather(*(traced.pay() for _ in range(8)))
    ids = {trace_id_of(answer) for answer in answers}

    def commits(spans: list[Received]) -> list[Received]:
        return [one for one in spans if one.name == "post_payments payments"]

    spans = await collector.until(
        lambda spans: (
            8 == sum(one.kind == "SERVER" and one.trace_id in ids for one in spans)
            and 8 == sum(len(one.links) for one in commits(spans))
        )
    )
    servers = {(one.trace_id, one.span_id) for one in spans if one.kind == "SERVER"}
    by_id = {(one.trace_id, one.span_id): one for one in commits(spans)}
    assert 8 > len(by_id)
    for commit in by_id.values():
        assert "" == commit.parent_id
        assert commit.trace_id not in ids
        assert servers >= set(commit.links)
        expected = len(commit.links) if len(commit.links) > 1 else None
        assert expected == commit.attributes.get("db.operation.batch.size")
    for post in (one for one in spans if one.name == "PostPayment payments"):
        (link,) = post.links
        assert post.trace_id in {trace_id for trace_id, _ in by_id[link].links}


async def test_payments_of_one_batch_request_link_to_the_commits_that_took_them(
    traced: Service, collector: Collector
) -> None:
    payments = [{"idempotency_key": uuid.uuid4().hex, **PAYMENT} for _ in range(3)]
    answers = {}
    for key, mode, count in (("apart", "independent", 3), ("all", "atomic", 3), ("1", "atomic", 1)):
        answers[key] = await traced.call(
            "POST",
            "/v1/payments/batch",
            json={"mode": mode, "payments": payments[:count]},
            headers={"Idempotency-Key": key},
        )
        payments = [{**one, "idempotency_key": uuid.uuid4().hex} for one in payments]
    apart = await collector.trace(trace_id_of(answers["apart"]))
    assert [1, 1, 1] == [len(one.links) for one in apart if one.name == "PostPayment payments"]
    together = named(await collector.trace(trace_id_of(answers["all"])), "PostBatch payments")
    assert 3 == together.attributes["db.operation.batch.size"]
    alone = named(await collector.trace(trace_id_of(answers["1"])), "PostBatch payments")
    assert "db.operation.batch.size" not in alone.attributes


async def test_who_asks_decides_for_its_trace(launch: Launch, collector: Collector) -> None:
    traces = traces_to(collector.endpoint, sampler="parentbased_traceidratio", ratio=0.0)
    service = await launch(traces=traces)
    headers = {"traceparent": SAMPLED, "tracestate": "shop=basket-7"}
    asked = await service.pay(**headers)
    unasked = await service.pay()
    declined = await service.pay(traceparent=UNSAMPLED)
    spans = await collector.trace(TRACE_ID)
    server = named(spans, "POST /v1/payments")
    assert (SPAN_ID, "shop=basket-7") == (server.parent_id, server.state)
    assert f"00-{TRACE_ID}-{server.span_id}-01" == asked.headers["traceparent"]
    assert ["00", "00"] == [one.headers["traceparent"][-2:] for one in (unasked, declined)]
    assert TRACE_ID == trace_id_of(declined)
    # Whatever was recorded of the others would have come before this one.
    last = await service.pay(traceparent=f"00-{'1' * 32}-{SPAN_ID}-01")
    await collector.trace(trace_id_of(last))
    assert {TRACE_ID, "1" * 32} == {one.trace_id for one in collector.spans if one.parent_id}
    assert 2 == sum(one.kind == "SERVER" for one in collector.spans)


async def test_a_trace_that_was_declined_is_not_recorded_however_many_are(
    traced: Service, collector: Collector
) -> None:
    await traced.pay(traceparent=UNSAMPLED)
    last = await traced.pay()
    await collector.trace(trace_id_of(last))
    assert TRACE_ID not in {one.trace_id for one in collector.spans}


async def test_a_malformed_traceparent_begins_a_trace_of_our_own(
    traced: Service, collector: Collector
) -> None:
    answer = await traced.pay(traceparent=f"00-{TRACE_ID}-{SPAN_ID}-01-more?")
    assert TRACE_ID != trace_id_of(answer)
    server = named(await collector.trace(trace_id_of(answer)), "POST /v1/payments")
    assert "" == server.parent_id


async def test_probes_and_scrapes_make_no_spans(traced: Service, collector: Collector) -> None:
    probe = await traced.call("GET", "/health/live", headers={"traceparent": SAMPLED})
    assert f"{TRACE_ID}-00" == "-".join(probe.headers["traceparent"].split("-")[1::2])
    await traced.admin("GET", "/metrics")
    await traced.admin("GET", "/health/ready")
    last = await traced.pay()
    await collector.trace(trace_id_of(last))
    names = {one.name for one in collector.spans if one.kind == "SERVER"}
    assert {"POST /v1/payments"} == {name for name in names if "/admin/" not in name}


async def test_what_a_client_makes_up_is_in_no_name(traced: Service, collector: Collector) -> None:
    await traced.call("BREW", "/made-up/4111111111111111?card=4111111111111111")
    spans = await collector.until(lambda spans: [one for one in spans if one.name == "HTTP"])
    brewed = named(spans, "HTTP")
    assert "_OTHER" == brewed.attributes["http.request.method"]
    assert "http.route" not in brewed.attributes
    assert "/REDACTED" == brewed.attributes["url.path"]
    assert "4111" not in str(brewed)


async def test_a_collector_in_a_black_hole_costs_no_answer_no_memory_and_no_shutdown(
    settings: Settings, collector: Collector, lines: Lines
) -> None:
    before = spans_counted()
    async with FaultProxy(("127.0.0.1", collector.port)) as proxy:
        proxy.blackhole()
        # Far longer than the test may take: nobody waits for it.
        traces = traces_to(
            f"http://{proxy.host}:{proxy.port}/v1/traces",
            timeout_s=300.0,
            queue_max=64,
            batch_max=16,
        )
        async with AsyncExitStack() as stack:
            plain = await stack.enter_async_context(started(settings, traces=traces))
            service = await plain.for_new_tenant()
            answers = [await service.pay() for _ in range(50)]
            to = recorder()
            assert to is not None
            assert 0 < to.waiting <= 64
            # The SDK by itself waits half a minute here.
            async with asyncio.timeout(15):
                await stack.aclose()
    assert [201] * 50 == [answer.status for answer in answers]
    after = spans_counted()
    assert before["exported"] == after["exported"]
    # A payment has a span, four effects and, since each came alone, a commit.
    assert 50 * 6 <= after["dropped"] - before["dropped"]
    (left,) = lines.of("spans_left_behind", "spans_refused")
    assert 64 <= left["spans"] <= 64 + 16
    assert recorder() is None


async def test_a_collector_that_refuses_is_told_of_once_and_not_in_its_secrets(
    launch: Launch, collector: Collector, lines: Lines
) -> None:
    before = spans_counted()
    collector.status = 401
    endpoint = f"{collector.endpoint}?token=of-the-query"
    service = await launch(traces=traces_to(endpoint, headers={"authorization": SECRET}))
    for _ in range(3):
        await service.pay()
        await collector.next_request()
    assert SECRET == collector.requests[-1]["authorization"]
    collector.status = 200
    last = await service.pay()
    await collector.trace(trace_id_of(last))
    async with asyncio.timeout(20):
        # The exporter hears of it a moment after the collector has answered.
        while not lines.of("spans_taken_again"):
            await asyncio.sleep(0.01)
    refused, again = lines.of("spans_refused", "spans_taken_again")
    assert (collector.url, "HTTP 401") == (refused["collector"], refused["error"])
    assert collector.url == again["collector"]
    # The libraries tell it for each batch, and urllib3 the address with its query.
    loggers = {json.loads(text)["logger"].partition(".")[0] for text in lines.texts}
    assert set() == loggers & {"opentelemetry", "urllib3"}
    said = "\n".join(lines.texts)
    assert "of-the-query" not in said
    assert SECRET not in said
    assert before["dropped"] < spans_counted()["dropped"]
    assert before["exported"] < spans_counted()["exported"]


async def test_what_the_last_requests_had_to_tell_is_sent_on_the_way_out(
    settings: Settings, collector: Collector
) -> None:
    traces = traces_to(collector.endpoint, delay_ms=60_000)
    async with started(settings, traces=traces) as plain:
        answer = await (await plain.for_new_tenant()).pay()
        assert [] == collector.spans
    assert trace_id_of(answer) in {one.trace_id for one in collector.spans}


async def test_without_an_endpoint_ids_are_made_and_nothing_is_recorded(service: Service) -> None:
    assert recorder() is None
    answer = await service.pay(traceparent=SAMPLED)
    _, trace_id, span_id, flags = answer.headers["traceparent"].split("-")
    assert (TRACE_ID, "01") == (trace_id, flags)
    assert SPAN_ID != span_id
