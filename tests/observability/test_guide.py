"""What the guide says to do can be done, and its pictures show the panels there are."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest

from deploy.grafana.source.files import documents
from tests.chart import helm
from tests.docs.pages import fences, read, section
from tests.observability.lint import panels
from tests.observability.prometheus import shipped_jobs
from tests.observability.rules import ROOT, alerts

GUIDE = read("docs/how-to/watch-fluxpay.md")
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
    assert 7 == sum(alert.severity == "page" for alert in alerts())
    assert "Seven alerts wake somebody" in GUIDE


@pytest.mark.parametrize("name", documents())
def test_a_picture_shows_the_panels_of_its_dashboard(name: str) -> None:
    document = json.loads(documents()[name])
    drawn = (PICTURES / f"{Path(name).stem}.svg").read_text("utf-8")
    titles = re.findall(r'<text class="title"[^>]*>([^<]*)</text>', drawn)
    assert [panel["title"] for panel in panels(document)] == [unescape(one) for one in titles]
    assert f"(pictures/{Path(name).stem}.svg)" in GUIDE
