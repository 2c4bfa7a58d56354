"""What the guide says to do can be done, and its pictures show the panels there are."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from deploy.grafana.source.files import documents
from fluxpay.observability.instruments import Distribution
from tests.chart import helm
from tests.docs.pages import fences, read, section
from tests.observability.lint import panels
from tests.observability.prometheus import shipped_jobs
from tests.observability.rules import FILE, ROOT, alerts

GUIDE = read("docs/how-to/watch-fluxpay.md")
COMPOSE = ROOT / "deploy/compose.yaml"
PICTURES = ROOT / "docs/how-to/pictures"


def test_the_values_of_the_guide_bring_monitors_rules_and_dashboards(tmp_path: Path) -> None:
    (values,) = fences(section(GUIDE, "On Kubernetes"))
    path = tmp_path / "values.yaml"
    path.write_text(values.text)
    made = [one["kind"] for one in helm.made(f"--values={path}")]
    assert (3, 1, 6) == tuple(
        made.count(kind) for kind in ("PodMonitor", "PrometheusRule", "ConfigMap")
    )


def test_the_jobs_of_the_guide_are_those_that_compose_and_the_chart_make() -> None:
    jobs = set(re.findall(r"`(fluxpay-(?:api|worker|operator))`", GUIDE))
    monitors = [one for one in helm.made("--set=monitor.enabled=true") if "Monitor" in one["kind"]]
    made = {
        rule["replacement"]
        for one in monitors
        for endpoint in one["spec"]["podMetricsEndpoints"]
        for rule in endpoint["relabelings"]
        if rule["targetLabel"] == "job"
    }
    assert jobs == made
    # Compose runs no operator.
    assert jobs - {"fluxpay-operator"} == set(shipped_jobs()) - {"collector"}


def test_every_job_of_compose_gives_a_namespace() -> None:
    ours = [job for name, job in shipped_jobs().items() if name.startswith("fluxpay-")]
    labels = [{rule["target_label"] for rule in job["relabel_configs"]} for job in ours]
    assert [{"namespace"}, {"namespace"}] == labels


def test_the_guide_counts_the_alerts_that_wake_somebody() -> None:
    waking = [alert.name for alert in alerts() if alert.severity == "page"]
    words = ("Burn", "Ledger", "Verify", "Api", "Database")
    counted = [sum(word in name for name in waking) for word in words]
    assert (8, [4, 1, 1, 1, 1]) == (len(waking), counted)
    told = "Eight alerts wake somebody: four about budgets that burn fast, two about the books, one"
    assert told in GUIDE


def test_the_guide_counts_the_dashboards() -> None:
    assert 5 == len(documents())
    assert "Upload the five files" in GUIDE


def test_the_guide_routes_by_severities_that_alerts_have() -> None:
    (route,) = (one.text for one in fences(section(GUIDE, "Alerts")))
    severities = {alert.severity for alert in alerts()}
    assert {"page"} == set(re.findall(r'severity="(\w+)"', route)) & severities
    assert severities == set(re.findall(r"which is `(\w+)` or `(\w+)`", GUIDE)[0])


def test_the_promises_of_the_guide_are_those_of_the_rules() -> None:
    rules = FILE.read_text("utf-8")
    told = re.findall(r"([\d.]+) % are (?:not answered|answered within (\d+) ms)", GUIDE)
    assert [("99.9", ""), ("99", "300")] == told
    assert {"0.001", "0.01"} == set(re.findall(r"\* (0\.\d+)\)", rules))
    assert {"0.3"} == set(re.findall(r'le="([\d.]+)"', rules))
    (hourly,) = re.findall(r"(\d+) payments an hour", GUIDE)
    least = re.findall(r"and namespace:fluxpay_payment_requests:rate\w+ > ([\d.]+)", rules)
    assert {int(hourly) / 3600} == {float(one) for one in least}


def test_what_the_guide_tells_to_run_can_be_run() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert set() == set(re.findall(r"`make (\w+)`", GUIDE)) - set(targets)
    compose = COMPOSE.read_text("utf-8")
    ((file, profile),) = re.findall(r"docker compose --file (\S+) --profile (\S+) up", GUIDE)
    assert ROOT / file == COMPOSE
    services = yaml.safe_load(compose)["services"]
    assert profile in services["prometheus"]["profiles"]
    assert profile in services["grafana"]["profiles"]
    (option,) = re.findall(r"`(--enable-feature=\S+)`", GUIDE)
    assert option in services["prometheus"]["command"]


def test_a_dot_leads_by_the_name_that_an_exemplar_has() -> None:
    (given,) = fences(section(GUIDE, "Import the dashboards"))
    (destination,) = yaml.safe_load(given.text)["jsonData"]["exemplarTraceIdDestinations"]
    registry = CollectorRegistry()
    Distribution(registry, "one_seconds", "One.", bounds=(0.1,)).observe((), 0.05, "4" * 32)
    (shown,) = (one.exemplar for all_ in registry.collect() for one in all_.samples if one.exemplar)
    assert {destination["name"]: "4" * 32} == shown.labels
    (variable,) = re.findall(r"change the variable `(\w+)`", GUIDE)
    for text in documents().values():
        assert variable in {one["name"] for one in json.loads(text)["templating"]["list"]}


@pytest.mark.parametrize("name", documents())
def test_a_picture_shows_the_panels_of_its_dashboard(name: str) -> None:
    document = json.loads(documents()[name])
    drawn = (PICTURES / f"{Path(name).stem}.svg").read_text("utf-8")
    titles = re.findall(r'<text class="title"[^>]*>([^<]*)</text>', drawn)
    assert [panel["title"] for panel in panels(document)] == [unescape(one) for one in titles]
    assert f"(pictures/{Path(name).stem}.svg)" in GUIDE
