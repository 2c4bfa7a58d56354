"""What runbooks and guide call by name is called so: panels, values, log lines, reasons, marks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from deploy.grafana.source.files import documents
from fluxpay.verify import report
from fluxpay_operator import marks
from tests.chart import helm, readme
from tests.docs.pages import read
from tests.observability.lint import panels
from tests.observability.rules import ROOT, alerts
from tests.observability.runbooks import INDEX, PAGES

GUIDE = ROOT / "docs/how-to/watch-fluxpay.md"
# What others call so: Grafana, Prometheus, Postgres, Kubernetes; and a field of a Tenant.
PLACES = {"Explore", "Status / Targets"}
SETTINGS = {
    *("idle_in_transaction_session_timeout", "max_connections", "pg_stat_activity"),
    *("rule_files", "target_session_attrs"),
}
KUBERNETES = {"CrashLoopBackOff", "ImagePullBackOff"}
NO_VALUES = {"alerts.yaml", "rotation.overlap", "verify.txt"}

pages = pytest.mark.parametrize("page", [*PAGES, INDEX, GUIDE], ids=lambda page: page.stem)


def words(name: str) -> set[str]:
    """What a page of the reference sets as code, each word of it."""
    return {word for found in re.findall(r"`([^`\n]+)`", read(name)) for word in found.split()}


def headings() -> Iterator[str]:
    """What Grafana shows of ours: titles of dashboards and panels, labels of variables."""
    for document in map(json.loads, documents().values()):
        yield document["title"]
        yield from (panel["title"] for panel in panels(document))
        yield from (one["label"] for one in document["templating"]["list"])


@pages
def test_the_panels_that_a_page_names_are_on_a_dashboard(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    named = re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", " ".join(prose.split()))
    assert set() == set(named) - set(headings()) - PLACES


@pages
def test_the_values_that_a_page_names_are_those_of_the_chart(page: Path) -> None:
    named = re.findall(r"`([a-z][A-Za-z]*(?:\.[A-Za-z]+)+)`", page.read_text("utf-8"))
    assert set() == set(named) - {row.path for row in readme.rows()} - NO_VALUES


@pages
def test_what_a_page_seeks_in_a_log_can_stand_there(page: Path) -> None:
    text = page.read_text("utf-8")
    names = {*re.findall(r'"(\w+)": ', text), *re.findall(r"`([a-z]+(?:_[a-z]+)+)\b", text)}
    assert set() == names - words("docs/reference/logs.md") - SETTINGS
    jobs = set(re.findall(r'"job": "(\w+)"', text))
    assert set() == jobs - words("docs/reference/metrics.md")


@pages
def test_the_reasons_that_a_page_names_are_given_by_the_operator(page: Path) -> None:
    named = re.findall(r"`((?!FluxPay)[A-Z][a-z]+(?:[A-Z][a-z]+)+)`", page.read_text("utf-8"))
    known = words("docs/reference/operator.md") | words("docs/reference/tenant.md")
    assert set() == set(named) - known - KUBERNETES


@pages
def test_what_a_page_marks_a_tenant_with_is_what_the_operator_looks_for(page: Path) -> None:
    marked = re.findall(r"annotate tenant NAME .* (\S+)KEY=", page.read_text("utf-8"))
    assert set() == set(marked) - {marks.ROTATE_ANNOTATION_PREFIX}


def test_the_lease_that_is_looked_at_is_the_operator_s() -> None:
    operator = helm.one("default", "Deployment", "fluxpay-operator")
    (container,) = operator["spec"]["template"]["spec"]["containers"]
    env = {one["name"]: one.get("value") for one in container["env"]}
    named = {
        name for page in PAGES for name in re.findall(r"get lease (\S+)", page.read_text("utf-8"))
    }
    assert {env["FLUXPAY_OPERATOR_LEASE_NAME"]} == named


def test_the_pages_about_the_books_wait_for_what_verify_says_of_sound_ones() -> None:
    out = StringIO()
    assert report([], out, as_json=False)
    said = out.getvalue().splitlines()[-1].partition(":")[0]
    told = {
        (page.stem, phrase)
        for page in PAGES
        for phrase in re.findall(r"`(books [^`]+)`", page.read_text("utf-8"))
    }
    assert {("ledger-imbalance", said), ("verify-findings", said)} == told


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_whether_it_wakes_somebody_and_which_dashboard_shows_it(page: Path) -> None:
    ours = [one for one in alerts() if Path(one.annotations["runbook_url"]).name == page.name]
    intro = " ".join(page.read_text("utf-8").partition("\n## ")[0].split())
    assert all("page" != one.severity for one in ours) == bool(
        re.search(r"` waits? for the morning", intro)
    )
    titles = {f"/d/{one['uid']}": one["title"] for one in map(json.loads, documents().values())}
    assert {titles[one.annotations["dashboard_url"]] for one in ours} == set(
        re.findall(r"Dashboard: \*([^*]+)\*", intro)
    )
