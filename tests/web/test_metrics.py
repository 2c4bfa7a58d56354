"""What Prometheus fetches: names, labels, and that they move with what happens."""

from collections.abc import Mapping

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families as families

from fluxpay.web import payments
from tests.web.changes import authorized, change
from tests.web.conftest import Launch
from tests.web.service import PAYMENT, RawConnection, Service

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


async def test_the_metrics_come_in_both_formats(service: Service) -> None:
    plain = await service.admin("GET", "/metrics", headers={"Authorization": "none"})
    assert plain.headers["Content-Type"].startswith("text/plain")
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = await service.admin("GET", "/metrics", headers=accept)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    found = openmetrics_families(answer.body.decode())  # type: ignore[no-untyped-call]
    names = {family.name for family in found}
    wanted = {
        "http_server_request_duration_seconds",
        "fluxpay_payments",
        "fluxpay_commit_batch_size",
        "fluxpay_idempotency",
        "fluxpay_rate_limited",
        "fluxpay_fraud_rejections",
        "fluxpay_degraded",
        "fluxpay_build_info",
        "db_client_operation_duration_seconds",
        "process_cpu_seconds",
        "python_info",
    }
    assert set() == wanted - names


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
    assert 201 == (await service.pay()).status
    labels = frozenset({("dependency", "redis")})
    assert 1 == (await samples(service))["fluxpay_degraded", labels]


async def test_metrics_are_not_on_the_api_port(service: Service) -> None:
    assert 404 == (await service.call("GET", "/metrics")).status
