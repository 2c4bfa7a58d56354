"""What Prometheus fetches: names, labels, and that they move with what happens."""

import asyncio
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace

import psycopg2
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families as families

from fluxpay.core.effects import FindPayment
from fluxpay.core.money import EXPONENTS
from fluxpay.embedded.postgres import SOCKET, EmbeddedPostgres
from fluxpay.settings import Settings
from fluxpay.web import payments
from fluxpay.web.route import Route
from fluxpay.web.telemetry import CLAIM_RESULTS, TENANT_RESULTS, TENANTS_MAX, Metrics
from tests.conftest import Database
from tests.faults.proxy import FaultProxy
from tests.observability.exposed import OPENMETRICS, SERVICE, page, read
from tests.web.changes import authorized, change
from tests.web.conftest import Launch
from tests.web.service import PAYMENT, RawConnection, Service, started

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def samples(service: Service) -> Samples:
    answer = await service.admin("GET", "/metrics", headers={"Authorization": "none"})
    assert 200 == answer.status
    found = families(answer.body.decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in found
        for sample in family.samples
    }


def grown(before: Samples, after: Samples, name: str, labels: Mapping[str, str]) -> float:
    key = (name, frozenset(labels.items()))
    return after.get(key, 0) - before.get(key, 0)


async def test_the_metrics_come_in_both_formats_with_every_name_from_the_start(
    service: Service,
) -> None:
    for accept in ("text/plain", OPENMETRICS):
        found = await page(service.admin_url, accept=accept)
        assert set() == SERVICE - set(found.families)


async def test_payments_are_counted_by_their_outcome(service: Service) -> None:
    tenant = await service.for_new_tenant(payment_limits=[{"currency": "USD", "max_amount": 100}])
    before = await samples(service)
    await tenant.pay("k")
    await tenant.pay("k")
    await tenant.pay("k", PAYMENT | {"amount": 1})
    await tenant.pay("f", PAYMENT | {"currency": "USD"})
    await tenant.pay("f", PAYMENT | {"currency": "USD"})
    await tenant.pay("g", PAYMENT | {"currency": "made up by a client"})
    await tenant.pay(Authorization="Bearer wrong")
    after = await samples(service)
    for outcome, currency, count in [
        ("captured", "EUR", 1),
        ("replayed", "EUR", 1),
        ("refused", "EUR", 1),
        ("fraud_rejected", "USD", 1),
        ("replayed", "USD", 1),
        ("refused", "unknown", 2),
    ]:
        labels = {"outcome": outcome, "currency": currency}
        assert (labels, count) == (
            labels,
            grown(before, after, "fluxpay_payments_total", labels),
        )
    for result, count in [("new", 3), ("replayed_cache", 2), ("mismatch", 1)]:
        labels = {"result": result}
        assert (labels, count) == (
            labels,
            grown(before, after, "fluxpay_idempotency_total", labels),
        )
    fraud = {"rule": "amount_threshold"}
    assert 1 == grown(before, after, "fluxpay_fraud_rejections_total", fraud)
    assert 1 == grown(before, after, "fluxpay_commit_batch_size_count", {})
    assert 1 == grown(before, after, "fluxpay_commit_batch_size_sum", {})
    operation = {
        "db_system_name": "postgresql",
        "db_operation_name": "PostPayment",
        "error_type": "",
    }
    assert 1 == grown(before, after, "db_client_operation_duration_seconds_count", operation)


async def test_changes_of_payments_are_counted_by_their_outcome(service: Service) -> None:
    before = await samples(service)
    payment_id, voided = [await authorized(service) for _ in range(2)]
    await change(service, payment_id, "capture", amount=300)
    await change(service, payment_id, "capture", amount=1000)
    await change(service, payment_id, "refunds", key="k", amount=100)
    await change(service, payment_id, "refunds", key="k", amount=100)
    await change(service, voided, "void")
    await service.call("GET", f"/v1/payments/{payment_id}/refunds")
    after = await samples(service)
    name = "fluxpay_payments_total"
    ended = {
        (labels["outcome"], labels["currency"]): grown(before, after, name, labels)
        for labels in (dict(key) for one, key in after if one == name)
        if grown(before, after, name, labels)
    }
    expected = {
        ("authorized", "EUR"): 2,
        ("captured", "EUR"): 1,
        ("refused", "unknown"): 1,
        ("refunded", "EUR"): 1,
        ("replayed", "EUR"): 1,
        ("voided", "EUR"): 1,
    }
    assert expected == ended


async def test_requests_are_counted_by_the_template_of_their_route(service: Service) -> None:
    before = await samples(service)
    await service.call("GET", "/v1/payments/pay_1")
    await service.call("GET", "/v1/payments/pay_2")
    await service.call("GET", "/nowhere/1")
    await service.call("PROPFIND", "/nowhere/2")
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(b"GARBAGE\r\n\r\n")
        await connection.answer()
        assert await connection.is_closed()
    after = await samples(service)
    for route, method, status, count in [
        ("/v1/payments/{payment_id}", "GET", "404", 2),
        ("unmatched", "GET", "404", 1),
        ("unmatched", "_OTHER", "404", 1),
        ("unmatched", "_OTHER", "400", 1),
    ]:
        labels = {
            "http_route": route,
            "http_request_method": method,
            "http_response_status_code": status,
        }
        name = "http_server_request_duration_seconds_count"
        assert (labels, count) == (labels, grown(before, after, name, labels))


async def test_no_label_holds_what_a_client_made_up(service: Service) -> None:
    made_up = "pay_00000000000000000000000000"
    await service.call("GET", f"/v1/payments/{made_up}")
    await service.pay("k", PAYMENT | {"currency": "made up"})
    text = (await service.admin("GET", "/metrics")).body.decode()
    assert made_up not in text
    assert "made up" not in text
    naming = {line.split("{")[0] for line in text.splitlines() if service.tenant_id in line}
    assert {"fluxpay_tenant_requests_total"} == naming


async def test_throttled_requests_are_counted(service: Service) -> None:
    quota = {"name": "one", "requests": 1, "window_s": 3600}
    tenant = await service.for_new_tenant(rate_limits=[quota])
    before = await samples(service)
    for _ in range(3):
        await tenant.call("GET", "/v1/payments")
    after = await samples(service)
    assert 2 == grown(before, after, "fluxpay_rate_limited_total", {"route": "/v1/payments"})


async def test_a_fault_counts_as_a_failed_payment(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("as told")

    monkeypatch.setattr(payments, "create_payment", crash)
    service = await launch()
    before = await samples(service)
    assert 500 == (await service.pay()).status
    after = await samples(service)
    labels = {"outcome": "failed", "currency": "EUR"}
    assert 1 == grown(before, after, "fluxpay_payments_total", labels)


async def test_a_lost_redis_is_shown_as_degraded(launch: Launch) -> None:
    service = await launch(redis_url="redis://127.0.0.1:1/0", redis_timeout_ms=50)
    before = await samples(service)
    assert 201 == (await service.pay()).status
    found = await page(service.admin_url)
    assert 1 == found.value("fluxpay_degraded", dependency="redis")
    assert 0 == found.value("fluxpay_degraded", dependency="database")
    operation = {
        "db_system_name": "redis",
        "db_operation_name": "CountRequest",
        "error_type": "Unavailable",
    }
    name = "db_client_operation_duration_seconds_count"
    assert 1 == grown(before, await samples(service), name, operation)


async def test_a_lost_database_is_shown_until_it_is_back(
    service: Service, database: Database, postgres: EmbeddedPostgres
) -> None:
    async def degraded() -> float:
        await service.call("GET", "/v1/payments")
        return (await page(service.admin_url)).value("fluxpay_degraded", dependency="database")

    with closing(psycopg2.connect(postgres.owner_url("postgres"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            allow = f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS"
            cursor.execute(f"{allow} false")
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (database.name,),
            )
            # Sessions that rested are found to be gone first; then there is nobody to dial.
            async with asyncio.timeout(30):
                while not await degraded():
                    await asyncio.sleep(0.05)
            before = await samples(service)
            assert 503 == (await service.pay()).status
            cursor.execute(f"{allow} true")
    operation = {
        "db_system_name": "postgresql",
        "db_operation_name": "FindApiKey",
        "error_type": "StoreUnavailable",
    }
    name = "db_client_operation_duration_seconds_count"
    assert 1 == grown(before, await samples(service), name, operation)
    assert 201 == (await service.pay()).status
    assert 0 == await degraded()


async def test_a_database_that_answers_nobody_is_shown_though_nobody_but_a_probe_asks(
    settings: Settings, database: Database, postgres: EmbeddedPostgres
) -> None:
    """A pod that is not ready is asked for no payment: the probe is all that is left."""
    async with FaultProxy(postgres.sockets / SOCKET) as proxy:
        url = f"postgresql://fluxpay_app@{proxy.host}:{proxy.port}/{database.name}"
        async with started(replace(settings, database_url=url)) as service:
            proxy.blackhole()
            async with asyncio.timeout(60):
                while not (await page(service.admin_url)).value(
                    "fluxpay_degraded", dependency="database"
                ):
                    answer = await service.call("GET", "/health/ready?require=database,schema")
                    assert 503 == answer.status


async def test_pools_queues_and_caches_are_shown_as_they_are(service: Service) -> None:
    before = await samples(service)
    for _ in range(3):
        assert 201 == (await service.pay()).status
    after = await samples(service)
    pool = {"db_client_connection_pool_name": "writer"}
    assert 1 == grown({}, after, "db_client_connection_max", pool)
    idle = pool | {"db_client_connection_state": "idle"}
    assert 1 == grown({}, after, "db_client_connections", idle)
    # The first asks Postgres, the others are answered from memory.
    for result, count in (("hit", 2), ("miss", 1)):
        assert count == grown(before, after, "fluxpay_key_cache_total", {"result": result})
    found = {"db_system_name": "postgresql", "db_operation_name": "FindApiKey", "error_type": ""}
    name = "db_client_operation_duration_seconds_count"
    assert 1 == grown(before, after, name, found)
    # A reply is sent and not waited for, which is no operation.
    assert "RememberReply" not in {dict(labels).get("db_operation_name") for _, labels in after}
    assert 3 == grown(before, after, "fluxpay_commit_duration_seconds_count", {})
    assert 0 < grown(before, after, "fluxpay_redis_pipeline_size_count", {})


async def test_the_lag_of_the_loop_is_measured_while_the_service_runs(service: Service) -> None:
    name = "fluxpay_event_loop_lag_seconds_count"
    seen = (await page(service.admin_url)).value(name)
    async with asyncio.timeout(30):
        while (await page(service.admin_url)).value(name) == seen:
            await asyncio.sleep(0.05)


async def test_a_request_under_way_is_active(launch: Launch) -> None:
    entered, go = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        entered.set()
        await go.wait()
        return web.Response()

    service = await launch(routes=[Route("GET", "/slow", slow)])
    active = "http_server_active_requests"
    assert 0 == (await page(service.admin_url)).value(active)
    waiting = asyncio.create_task(service.call("GET", "/slow"))
    await entered.wait()
    assert 1 == (await page(service.admin_url)).value(active)
    go.set()
    assert 200 == (await waiting).status
    assert 0 == (await page(service.admin_url)).value(active)


async def test_the_latency_of_a_sampled_request_leads_to_its_trace(service: Service) -> None:
    trace_id = uuid.uuid4().hex
    sampled = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    await service.call("GET", "/v1/payments/pay_1", headers=sampled)
    unsampled = {"traceparent": f"00-{uuid.uuid4().hex}-00f067aa0ba902b7-00"}
    await service.call("GET", "/v1/trial-balance", headers=unsampled)
    found = (await page(service.admin_url)).families["http_server_request_duration_seconds"]
    traces = {
        sample.labels["http_route"]: sample.exemplar.labels["trace_id"]
        for sample in found.samples
        if sample.exemplar is not None
    }
    assert trace_id == traces["/v1/payments/{payment_id}"]
    assert "/v1/trial-balance" not in traces


async def test_the_objective_of_latency_can_be_measured(service: Service) -> None:
    await service.call("GET", "/v1/payments")
    found = (await page(service.admin_url)).families["http_server_request_duration_seconds"]
    assert "0.3" in {sample.labels.get("le") for sample in found.samples}


async def test_requests_are_counted_by_tenant_and_how_they_ended(service: Service) -> None:
    quota = {"name": "four", "requests": 4, "window_s": 3600}
    limits = [{"currency": "USD", "max_amount": 100}]
    tenant = await service.for_new_tenant(rate_limits=[quota], payment_limits=limits)
    await tenant.pay()
    await tenant.pay(body=PAYMENT | {"currency": "USD"})
    await tenant.call("GET", "/v1/payments/pay_1")
    await tenant.call("GET", "/v1/payments")
    await tenant.call("GET", "/v1/payments")
    found = await page(service.admin_url)
    counted = {
        result: found.value(
            "fluxpay_tenant_requests_total", tenant_id=tenant.tenant_id, result=result
        )
        for result in TENANT_RESULTS
    }
    expected = {"ok": 2, "throttled": 1, "fraud_rejected": 1, "refused": 1, "failed": 0}
    assert expected == counted


async def test_what_ten_thousand_requests_make_up_makes_no_series(service: Service) -> None:
    """2,500 payment ids, currencies, paths and methods each, all different."""

    async def four(number: int) -> None:
        await service.call("GET", f"/v1/payments/pay_{number:026}")
        await service.pay(f"key-{number}", PAYMENT | {"currency": f"made up {number}"})
        await service.call("GET", f"/made-up/{number}")
        await service.call(f"MADE{number}", "/v1/payments")

    await four(0)
    before = await page(service.admin_url)
    for first in range(1, 2_500, 50):
        await asyncio.gather(*(four(number) for number in range(first, min(first + 50, 2_500))))
    after = await page(service.admin_url)
    assert before.series() == after.series()


def test_all_that_can_be_counted_is_bounded_by_what_the_code_names() -> None:
    metrics = Metrics()
    begun = read(metrics.exposition(OPENMETRICS)[0].decode(), is_openmetrics=True).series()
    for number in range(10_000):
        metrics.tenant_answered(f"ten_{number}", "ok")
        metrics.payment_ended("refused", f"currency-{number}")
        metrics.answered(
            route="/", method=f"M{number}", status=200, started_s=0, exemplar=f"{number:032x}"
        )
        metrics.effect_failed(FindPayment, 0.001, type(f"Error{number}", (Exception,), {})())
    for currency in EXPONENTS:
        metrics.payment_ended("refused", currency)
    page = read(metrics.exposition(OPENMETRICS)[0].decode(), is_openmetrics=True)
    tenants = TENANTS_MAX * len(TENANT_RESULTS)
    histograms = (14 + 1 + 2) + (10 + 1 + 2)
    assert begun + tenants + len(EXPONENTS) + 1 + histograms == page.series()


async def test_each_result_of_a_claim_is_shown_before_there_is_one(service: Service) -> None:
    found = await page(service.admin_url)
    shown = [found.value("fluxpay_idempotency_total", result=result) for result in CLAIM_RESULTS]
    assert len(CLAIM_RESULTS) == len(shown)


async def test_metrics_are_not_on_the_api_port(service: Service) -> None:
    assert 404 == (await service.call("GET", "/metrics")).status
