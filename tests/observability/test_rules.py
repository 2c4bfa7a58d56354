"""The rules are sound, and each alert fires when it should and is silent when it should be."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.source.files import documents
from tests.observability.lint import panels
from tests.observability.promql import labels_kept, parsed, selectors
from tests.observability.rules import FILE, PLAYED, ROOT, Alert, alerts, recordings
from tests.toolbox.debian import unpacked

PROMISES = (("Availability", "errors", "0.001"), ("Latency", "slow", "0.01"))
BURNS = (
    ("14x", "14.4", "1h", "5m"),
    ("6x", "6", "6h", "30m"),
    ("3x", "3", "1d", "2h"),
    ("1x", "1", "3d", "6h"),
)
IN_TEMPLATE = re.compile(r"\$labels\.(\w+)")


def promtool(*arguments: Any) -> tuple[int, str]:
    """Run promtool; its exit code, and what it says where it is not content."""
    done = subprocess.run(
        [unpacked("promtool"), *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr if done.returncode else ""


def played() -> list[dict[str, Any]]:
    """The cases that promtool plays."""
    found: list[dict[str, Any]] = yaml.safe_load(PLAYED.read_text("utf-8"))["tests"]
    return found


def test_the_rules_are_sound() -> None:
    assert (0, "") == promtool("check", "rules", FILE)


def test_the_prometheus_of_compose_is_configured_soundly(tmp_path: Path) -> None:
    shipped = (ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8")
    mounted = tmp_path / "prometheus.yml"
    mounted.write_text(shipped.replace("/etc/fluxpay/rules", str(FILE.parent)), "utf-8")
    assert shipped != mounted.read_text("utf-8")
    assert (0, "") == promtool("check", "config", mounted)


def test_every_alert_says_all_that_it_says_when_it_should_and_only_then() -> None:
    assert (0, "") == promtool("test", "rules", PLAYED)


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    names = [case["name"].split(", ")[0] for case in played()]
    assert {f"{one.name} {verb}" for one in alerts() for verb in ("fires", "is silent")} == set(
        names
    )


def test_a_case_ends_as_its_name_says() -> None:
    for case in played():
        name, _, verb = case["name"].split(", ")[0].partition(" ")
        expected = [bool(one["exp_alerts"]) for one in case["alert_rule_test"]]
        assert {name} == {one["alertname"] for one in case["alert_rule_test"]}
        assert (verb == "fires") == expected[-1]


def test_an_alert_that_waits_is_seen_waiting() -> None:
    seen = {
        one["alertname"]
        for case in played()
        for one in case["alert_rule_test"][:-1]
        if not one["exp_alerts"]
    }
    assert {alert.name for alert in alerts() if alert.waits} == seen


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_an_alert_tells_whom_it_wakes_what_to_do_and_where_to_look(alert: Alert) -> None:
    assert alert.severity in {"page", "ticket"}
    assert {"summary", "description", "runbook_url", "dashboard_url"} == set(alert.annotations)
    assert (ROOT / alert.annotations["runbook_url"]).is_file()
    uids = {json.loads(text)["uid"] for text in documents().values()}
    assert alert.annotations["dashboard_url"].removeprefix("/d/") in uids


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_the_labels_that_an_alert_names_are_there(alert: Alert) -> None:
    named = set(IN_TEMPLATE.findall(json.dumps(alert.annotations)))
    kept = labels_kept(parsed(alert.expr))
    # What was recorded keeps the namespace.
    assert set() == named - ({"namespace"} if kept is None else kept)


def test_only_the_books_an_outage_and_fast_burning_wake_somebody() -> None:
    assert [
        "FluxPayAvailabilityBurn14x",
        "FluxPayAvailabilityBurn6x",
        "FluxPayLatencyBurn14x",
        "FluxPayLatencyBurn6x",
        "FluxPayLedgerImbalance",
        "FluxPayVerifyFindings",
        "FluxPayApiAbsent",
        "FluxPayDatabaseGone",
    ] == [alert.name for alert in alerts() if alert.severity == "page"]


@pytest.mark.parametrize(("name", "factor", "long", "short"), BURNS)
@pytest.mark.parametrize(("promise", "sli", "budget"), PROMISES)
def test_a_budget_is_watched_over_two_windows_and_only_where_there_is_traffic(
    promise: str, sli: str, budget: str, name: str, factor: str, long: str, short: str
) -> None:
    (expr,) = (one.expr for one in alerts() if one.name == f"FluxPay{promise}Burn{name}")
    ratio = f"namespace:fluxpay_payment_{sli}:ratio_rate"
    assert (
        f"{ratio}{long} > ({factor} * {budget}) "
        f"and {ratio}{short} > ({factor} * {budget}) "
        f"and namespace:fluxpay_payment_requests:rate{long} > 0.02"
    ) == " ".join(expr.split())


def test_what_is_recorded_is_used_and_what_is_used_is_recorded() -> None:
    shown = [
        target["expr"]
        for text in documents().values()
        for panel in panels(json.loads(text))
        for target in panel["targets"]
    ]
    asked = [*shown, *recordings().values(), *(alert.expr for alert in alerts())]
    used = {
        one.name for expr in asked for one in selectors(expr) if one.name.startswith("namespace:")
    }
    assert set(recordings()) == used
