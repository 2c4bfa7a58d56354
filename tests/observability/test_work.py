"""Work that nobody asked for: what its spans say, and what is current while it lasts."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from fluxpay.observability.current import CURRENT
from fluxpay.observability.spans import recording
from fluxpay.observability.trace_settings import TraceSettings
from fluxpay.observability.work import asking, place_of, shown_url, working
from fluxpay.stores.problems import StoreUnavailable
from fluxpay.worker.jobs import Job, Round
from fluxpay.worker.loop import keep_doing
from tests.collector import Collector, Received


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as running:
        yield running


def traces_to(collector: Collector, sampler: str = "parentbased_always_on") -> TraceSettings:
    return TraceSettings(collector.endpoint, "fluxpay-worker", sampler, delay_ms=20)


async def test_a_piece_of_work_has_a_span_and_one_for_each_part(collector: Collector) -> None:
    async with recording(traces_to(collector)):
        with working("reconcile") as work:
            assert work is CURRENT.get()
            work.tenant_id = "ten_1"
            work.attributes["fluxpay.reconcile.result"] = "changed"
            with asking("PUT /tenants", place_of("https://admin:8081/x")) as part:
                part.answered(503)
            with asking("GET /tenants", place_of("http://admin")) as part:
                part.answered(200)
        assert CURRENT.get() is None
    put, get, whole = collector.spans
    assert ("reconcile", "INTERNAL", "", False) == (
        whole.name,
        whole.kind,
        whole.parent_id,
        whole.is_error,
    )
    assert {"fluxpay.reconcile.result": "changed", "fluxpay.tenant.id": "ten_1"} == whole.attributes
    assert {(whole.trace_id, whole.span_id)} == {
        (one.trace_id, one.parent_id) for one in (put, get)
    }
    assert (work.trace_id, work.span_id) == (whole.trace_id, whole.span_id)
    assert ("PUT /tenants", "CLIENT", True) == (put.name, put.kind, put.is_error)
    assert {
        "server.address": "admin",
        "server.port": 8081,
        "http.response.status_code": 503,
        "error.type": "503",
    } == put.attributes
    assert {"server.address": "admin", "server.port": 80, "http.response.status_code": 200} == (
        get.attributes
    )
    assert f"00-{get.trace_id}-{get.span_id}-01" == part.traceparent


async def test_what_fails_says_how_and_what_was_nothing_is_not_told(collector: Collector) -> None:
    async with recording(traces_to(collector)):
        with pytest.raises(TimeoutError), working("sealing"), asking("SELECT", {}):
            raise TimeoutError
        with working("idle") as work:
            work.forget()
    select, whole = collector.spans
    for one in (select, whole):
        assert one.is_error
        assert "TimeoutError" == one.attributes["error.type"]


async def test_unsampled_work_has_ids_and_no_spans(collector: Collector) -> None:
    async with recording(traces_to(collector, "always_off")):
        with working("reconcile") as work, asking("GET", {}) as part:
            assert f"00-{work.trace_id}-" == part.traceparent[:36]
            assert part.traceparent.endswith("-00")
    assert [] == collector.spans


async def test_what_is_asked_outside_of_any_work_is_no_part_of_one(collector: Collector) -> None:
    async with recording(traces_to(collector)):
        with asking("GET", {}) as part:
            part.answered(200)
    assert [] == collector.spans


async def test_the_worker_tells_of_rounds_that_did_something_or_failed(
    collector: Collector,
) -> None:
    stop = asyncio.Event()
    rounds = [Round(3, has_more=True), Round(0, has_more=True)]

    async def run() -> Round:
        if not rounds:
            stop.set()
            raise StoreUnavailable("gone")
        return rounds.pop(0)

    async with recording(traces_to(collector)):
        await keep_doing(Job("sealing", "sealed transfers", 0.01, run), stop=stop)

    def told(one: Received) -> tuple[str, bool, object]:
        return one.name, one.is_error, one.attributes

    assert [
        ("sealing", False, {"fluxpay.worker.items": 3}),
        ("sealing", True, {"error.type": "StoreUnavailable"}),
    ] == [told(one) for one in collector.spans]


def test_a_url_is_shown_without_user_and_password() -> None:
    url = "https://admin:8081/tenants/ten_1?limit=1"
    assert url == shown_url(url)
    assert url == shown_url(url.replace("admin:", "user:p@ss@admin:"))
