"""A real Prometheus watches real processes in mixed traffic, while stores fail under them.

`make watch` plays five minutes of the same.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from xml.etree import ElementTree as ET

import pytest
import pytest_asyncio

from deploy.grafana.source.files import documents
from tests.observability.lint import findings, panels
from tests.observability.prometheus import Series
from tests.observability.watching import Stretch, played

SECONDS = 45
# Far more than it takes, since what is slow here may be the machine.
PATIENCE_S = 400
SVG = "{http://www.w3.org/2000/svg}"

pytestmark = pytest.mark.timeout(PATIENCE_S)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stretch(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stretch]:
    """A stretch that was played, with its Prometheus."""
    folder = tmp_path_factory.mktemp("watch", numbered=True)
    async with played(folder, seconds=SECONDS, tell=lambda _: None) as stretch:
        yield stretch


def seen(stretch: Stretch, expr: str) -> list[Series]:
    """What Prometheus saw of it over the whole stretch."""
    return stretch.prometheus.over(expr, stretch.start_s, stretch.end_s, step_s=1)


def test_every_question_of_dashboards_and_alerts_is_answered(stretch: Stretch) -> None:
    assert [] == stretch.unanswered()


def test_every_process_is_scraped_and_every_rule_evaluated(stretch: Stretch) -> None:
    assert [] == stretch.prometheus.ills()


def test_promtool_finds_nothing_on_any_page_of_metrics(stretch: Stretch) -> None:
    assert {"fluxpay-api": "", "fluxpay-worker": "", "fluxpay-operator": ""} == stretch.pages


@pytest.mark.parametrize("name", documents())
def test_no_dashboard_asks_for_what_nobody_tells(stretch: Stretch, name: str) -> None:
    assert [] == findings(json.loads(documents()[name]), stretch.prometheus.names())


def test_all_that_can_happen_to_a_request_happened(stretch: Stretch) -> None:
    assert set() == {200, 201, 401, 404, 422, 429, 503} - set(stretch.answers)
    # What fails is told as a failure of a store, and never as a bug.
    assert 0 == stretch.answers[500]


def test_slow_payments_lead_to_their_traces(stretch: Stretch) -> None:
    kept = stretch.prometheus.exemplars(
        "http_server_request_duration_seconds_bucket", stretch.start_s, stretch.end_s
    )
    assert kept
    assert {32} == {len(one.trace_id) for one in kept}


@pytest.mark.parametrize("dependency", ["redis", "database"])
def test_a_store_that_was_gone_is_seen_gone_and_back(stretch: Stretch, dependency: str) -> None:
    (series,) = seen(stretch, f'fluxpay_degraded{{job="fluxpay-api",dependency="{dependency}"}}')
    values = [value for _, value in series.points]
    assert {0.0, 1.0} == set(values)
    assert 0.0 == values[-1]


def test_the_budget_that_burned_woke_somebody(stretch: Stretch) -> None:
    firing = 'ALERTS{alertname="FluxPayAvailabilityBurn14x",alertstate="firing"}'
    assert ["page"] == [series.labels["severity"] for series in seen(stretch, firing)]


def test_every_panel_can_be_drawn(stretch: Stretch) -> None:
    for name, drawn in stretch.pictures().items():
        texts = [one.text for one in ET.fromstring(drawn).iter(f"{SVG}text")]  # noqa: S314 - our own
        assert (name, False) == (name, "no data" in texts)
        document = json.loads(documents()[f"{name.removesuffix('.svg')}.json"])
        assert set() == {panel["title"] for panel in panels(document)} - set(texts)


def test_the_books_hold_through_all_of_it(stretch: Stretch) -> None:
    wrong = "abs(fluxpay_ledger_imbalance_minor) > 0 or fluxpay_verify_findings > 0"
    assert [] == seen(stretch, wrong)
