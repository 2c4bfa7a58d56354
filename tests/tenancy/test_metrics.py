"""What the operator tells Prometheus, without a cluster: names, results, and who is up to date."""

from __future__ import annotations

import time
from typing import Any

import pytest

from fluxpay_operator.admin_client import CALLED
from fluxpay_operator.metrics import RESULTS, Metrics
from fluxpay_operator.work_queue import Key
from tests.observability.exposed import OPENMETRICS, OPERATOR, Page, read

KEY = Key("shops", "corner")
LAST_SUCCESS = "fluxpay_operator_last_success_timestamp_seconds"
DEPTH = "fluxpay_operator_queue_depth"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def shown(metrics: Metrics) -> Page:
    return read(metrics.exposition(OPENMETRICS)[0].decode(), is_openmetrics=True)


def some_status() -> Any:
    """A status that says nothing."""

    class Status:
        conditions: tuple[Any, ...] = ()
        keys: tuple[Any, ...] = ()

    return Status()


def test_every_name_is_there_from_the_start_in_both_formats(metrics: Metrics) -> None:
    for accept in ("text/plain", OPENMETRICS):
        text, kind = metrics.exposition(accept)
        assert kind.startswith(accept.partition(";")[0])
        found = read(text.decode(), is_openmetrics=accept == OPENMETRICS)
        assert set() == OPERATOR - set(found.families)


def test_every_result_is_0_before_it_happens_and_counted_when_it_does(metrics: Metrics) -> None:
    metrics.reconciled("changed")
    metrics.admin_called("unavailable")
    with metrics.timed():
        pass
    found = shown(metrics)
    turns = {one: found.value("fluxpay_operator_reconcile_total", result=one) for one in RESULTS}
    assert {**dict.fromkeys(RESULTS, 0), "changed": 1} == turns
    calls = {
        one: found.value("fluxpay_operator_admin_requests_total", result=one) for one in CALLED
    }
    assert {**dict.fromkeys(CALLED, 0), "unavailable": 1} == calls
    assert 1 == found.value("fluxpay_operator_reconcile_duration_seconds_count")


def test_a_turn_that_came_to_its_end_is_a_success_and_one_that_did_not_is_none(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics.leads(is_leader=True)
    metrics.tenants.tell(KEY, some_status())
    begun_s = shown(metrics).value(LAST_SUCCESS)
    monkeypatch.setattr(time, "time", lambda: begun_s + 1000)
    for result in ("retried", "refused", "failed"):
        metrics.reconciled(result)
        assert begun_s == shown(metrics).value(LAST_SUCCESS)
    for later_s, result in enumerate(("changed", "unchanged", "stalled", "deleted", "gone"), 2000):
        monkeypatch.setattr(time, "time", lambda later_s=later_s: begun_s + later_s)
        metrics.reconciled(result)
        assert begun_s + later_s == shown(metrics).value(LAST_SUCCESS)


def test_one_that_has_nothing_to_do_is_up_to_date(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics.leads(is_leader=True)
    begun_s = shown(metrics).value(LAST_SUCCESS)
    monkeypatch.setattr(time, "time", lambda: begun_s + 1000)
    assert begun_s + 1000 == shown(metrics).value(LAST_SUCCESS)
    # A tenant that waits is something to do.
    metrics.measure_queue(lambda: 1)
    assert begun_s >= shown(metrics).value(LAST_SUCCESS)


def test_one_that_leads_no_more_knows_no_tenant(metrics: Metrics) -> None:
    metrics.leads(is_leader=True)
    metrics.tenants.tell(KEY, some_status())
    assert 1 == shown(metrics).value("fluxpay_operator_leader")
    assert metrics.tenants.are_any
    metrics.leads(is_leader=False)
    assert 0 == shown(metrics).value("fluxpay_operator_leader")
    assert not metrics.tenants.are_any


def test_one_that_stands_by_has_nobody_waiting_and_no_success_to_tell(metrics: Metrics) -> None:
    metrics.measure_queue(lambda: 3)
    assert 0 == shown(metrics).value(DEPTH)
    assert [] == shown(metrics).families[LAST_SUCCESS].samples
    metrics.leads(is_leader=True)
    assert 3 == shown(metrics).value(DEPTH)
    assert 1 == len(shown(metrics).families[LAST_SUCCESS].samples)
