"""The dashboards are what their source says, and our own lint finds nothing in them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from deploy.grafana.source.files import FOLDERS, documents
from tests.observability.lint import findings, panels
from tests.observability.reference import series

TITLES = {
    "fluxpay-overview.json": "FluxPay / Overview",
    "fluxpay-ledger.json": "FluxPay / Payments and ledger",
    "fluxpay-tenants.json": "FluxPay / Tenants",
    "fluxpay-dependencies.json": "FluxPay / Dependencies",
    "fluxpay-operator.json": "FluxPay / Operator",
}
Spoil = Callable[[dict[str, Any]], None]


def a_board() -> dict[str, Any]:
    """A small dashboard without a fault."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    selected = 'x_total{namespace=~"$namespace"}[$__rate_interval]'
    return {
        "templating": {"list": [{"name": name} for name in ("datasource", "namespace", "job")]},
        "panels": [
            {
                "id": number,
                "type": "timeseries",
                "title": f"Panel {number}",
                "description": "What it means.",
                "datasource": source,
                "fieldConfig": {"defaults": {"unit": "s"}},
                "gridPos": {"x": 12 * number, "y": 0, "w": 12, "h": 8},
                "targets": [
                    {
                        "datasource": source,
                        "expr": f"sum by (route) (rate({selected}))",
                        "legendFormat": "{{route}}",
                    }
                ],
            }
            for number in (0, 1)
        ],
    }


def asks(expr: str) -> Spoil:
    """Let the first panel ask for something else."""

    def spoil(board: dict[str, Any]) -> None:
        board["panels"][0]["targets"][0]["expr"] = expr

    return spoil


def lacks(field: str) -> Spoil:
    """Take a field from the first panel."""
    return lambda board: board["panels"][0].pop(field)


OF_OURS = 'namespace=~"$namespace"'
FAULTS: dict[str, Spoil] = {
    "there is no variable job": lambda board: board["templating"]["list"].pop(),
    "Panel 0 and Panel 1 overlap": lambda board: board["panels"][1]["gridPos"].update(x=11),
    "Panel 1 leaves the page": lambda board: board["panels"][1]["gridPos"].update(x=13),
    "two panels are called Panel 1": lambda board: board["panels"][0].update(title="Panel 1"),
    "panel 0: no title": lacks("title"),
    "Panel 0: no description": lacks("description"),
    "Panel 0: no unit": lacks("fieldConfig"),
    "Panel 0: no query": lacks("targets"),
    "Panel 0: a datasource of its own": lambda board: board["panels"][0]["targets"][0].update(
        datasource={"uid": "prometheus"}
    ),
    "Panel 0: no PromQL: unclosed left parent": asks("sum by (route"),
    "Panel 0: nobody tells y_total": asks(
        f"sum by (route) (rate(y_total{{{OF_OURS}}}[$__rate_interval]))"
    ),
    "Panel 0: x_total is a count and stands under no rate": asks(
        f"sum by (route) (x_total{{{OF_OURS}}})"
    ),
    "Panel 0: x_total has a window of its own, 5m": asks(
        f"sum by (route) (rate(x_total{{{OF_OURS}}}[5m]))"
    ),
    "Panel 0: x_total is not of the namespace that was chosen": asks(
        "sum by (route) (rate(x_total[$__rate_interval]))"
    ),
    "Panel 0: a quantile of what has lost its buckets": asks(
        f"histogram_quantile(0.9, sum by (route) (rate(x_total{{{OF_OURS}}}[$__rate_interval])))"
    ),
    "Panel 0: the legend says route, which the query does not keep": asks(
        f"sum by (status) (rate(x_total{{{OF_OURS}}}[$__rate_interval]))"
    ),
}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_the_files_are_what_the_source_says(folder: Any) -> None:
    written = {path.name: path.read_text("utf-8") for path in folder.glob("*.json")}
    assert documents() == written


def test_there_are_five_dashboards() -> None:
    titles = {name: json.loads(text)["title"] for name, text in documents().items()}
    assert TITLES == titles


@pytest.mark.parametrize("name", TITLES)
def test_the_lint_finds_nothing(name: str) -> None:
    assert [] == findings(json.loads(documents()[name]), series())


def test_the_lint_finds_nothing_in_a_board_without_fault() -> None:
    assert [] == findings(a_board(), {"x_total"})


@pytest.mark.parametrize("fault", FAULTS)
def test_the_lint_finds_a_planted_fault(fault: str) -> None:
    board = copy.deepcopy(a_board())
    FAULTS[fault](board)
    assert [fault] == [one[: len(fault)] for one in findings(board, {"x_total"})]


def test_panels_with_exemplars_lead_to_traces() -> None:
    shown = [
        panel
        for text in documents().values()
        for panel in panels(json.loads(text))
        if any(target["exemplar"] for target in panel["targets"])
    ]
    assert shown
    without = [panel["title"] for panel in shown if "${traces}" not in str(panel.get("links"))]
    assert [] == without


@pytest.mark.parametrize("name", TITLES)
def test_each_dashboard_leads_to_the_others(name: str) -> None:
    document = json.loads(documents()[name])
    (link,) = document["links"]
    assert ("dashboards", True, True) == (link["type"], link["includeVars"], link["keepTime"])
    assert link["tags"] == document["tags"] == ["fluxpay"]
