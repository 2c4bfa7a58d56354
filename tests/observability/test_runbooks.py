"""Each alert has its page, each page its alert, and what a page tells to do can be done."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from fluxpay.cli import _parser
from tests.chart import helm
from tests.docs.pages import code, fences, table
from tests.observability.lint import ITS_OWN
from tests.observability.promql import selectors
from tests.observability.reference import series
from tests.observability.rules import ROOT, alerts, recordings
from tests.observability.runbooks import INDEX, PAGES, told

PARTS = ["What it means", "Is it real", "What to do now", "Is it over", "Afterwards"]
# What is given by the reader, and by those who run the stores.
FOREIGN = {"curl", "grep", "tail", "echo", "helm"}
KUBECTL = {
    *("annotate", "config", "delete", "describe", "exec", "get", "logs", "rollout", "scale"),
    "wait",
}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def commands(page: Path) -> list[list[str]]:
    """Each command of a page, in its words."""
    return [
        shlex.split(part)
        for fence in told(page)
        if fence.info == "sh"
        for line in fence.text.splitlines()
        for part in re.split(r"\s[|;]\s|;\s", line)
    ]


def kubectl(page: Path) -> list[list[str]]:
    """The words after `kubectl`, wherever a page says it."""
    inline = re.findall(r"`kubectl ([^`\n]+)`", page.read_text("utf-8"))
    fenced = [words[1:] for words in commands(page) if words[0] == "kubectl"]
    return [*fenced, *map(shlex.split, inline)]


def subcommands() -> dict[str, argparse.ArgumentParser]:
    """The commands of fluxpay."""
    (action,) = (one for one in _parser()._actions if isinstance(one, argparse._SubParsersAction))
    found: dict[str, argparse.ArgumentParser] = action.choices
    return found


def test_each_alert_leads_to_a_page_that_names_it() -> None:
    lost = [
        alert.name
        for alert in alerts()
        if f"`{alert.name}`" not in (ROOT / alert.annotations["runbook_url"]).read_text("utf-8")
    ]
    assert [] == lost


def test_each_page_names_only_alerts_that_lead_to_it() -> None:
    named = {
        (page.name, name)
        for page in PAGES
        for name in re.findall(r"`(FluxPay\w+)`", page.read_text("utf-8"))
    }
    assert {(Path(one.annotations["runbook_url"]).name, one.name) for one in alerts()} == named


def test_the_index_lists_every_alert_with_its_page_and_whether_it_wakes_somebody() -> None:
    listed = {
        (code(name), wakes, *re.findall(r"\((.*)\)", page))
        for names, wakes, page in table(INDEX.read_text("utf-8"), "Runbooks")
        for name in names.split(", ")
    }
    wanted = {
        (
            one.name,
            "yes" if one.severity == "page" else "no",
            Path(one.annotations["runbook_url"]).name,
        )
        for one in alerts()
    }
    assert wanted == listed


@pages
def test_a_page_has_the_five_parts(page: Path) -> None:
    assert PARTS == re.findall(r"^## (.+)$", page.read_text("utf-8"), re.MULTILINE)


@pages
def test_whether_it_is_real_is_found_out_by_one_query_or_command(page: Path) -> None:
    text = page.read_text("utf-8")
    part = text[text.index("## Is it real") : text.index("## What to do now")]
    assert any(fence.info in {"promql", "sh"} for fence in fences(part))


@pages
def test_the_queries_of_a_page_ask_for_series_that_there_are(page: Path) -> None:
    asked = [one for fence in told(page) if fence.info == "promql" for one in selectors(fence.text)]
    assert set() == {one.name for one in asked} - series() - set(recordings()) - ITS_OWN


@pages
def test_the_programs_of_a_page_are_known(page: Path) -> None:
    assert set() == {words[0] for words in commands(page)} - {"kubectl", *FOREIGN}
    assert set() == {words[0] for words in kubectl(page)} - KUBECTL


@pages
def test_the_deployments_that_a_page_names_are_those_of_the_chart(page: Path) -> None:
    there = {one["metadata"]["name"] for one in helm.of_kind("default", "Deployment")}
    named = re.findall(r"\bdeployment/([\w-]+)", page.read_text("utf-8"))
    assert set() == set(named) - there


@pages
def test_the_pods_that_a_page_selects_are_those_of_the_chart(page: Path) -> None:
    label = "app.kubernetes.io/component"
    there = {
        one["spec"]["template"]["metadata"]["labels"][label]
        for one in helm.of_kind("default", "Deployment")
    }
    named = re.findall(rf"{re.escape(label)}=([\w-]+)", page.read_text("utf-8"))
    assert set() == set(named) - there


@pages
def test_the_commands_of_fluxpay_that_a_page_names_exist(page: Path) -> None:
    known = subcommands()
    named = re.findall(r"(?:`|-- )fluxpay (\w+)((?: --[\w-]+)*)", page.read_text("utf-8"))
    for name, options in named:
        there = {option for action in known[name]._actions for option in action.option_strings}
        assert set() == set(options.split()) - there
