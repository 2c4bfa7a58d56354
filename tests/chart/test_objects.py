"""Every object that the chart renders is one that a cluster takes, the same each time."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.chart import helm
from tests.chart.helm import CASES, CHART
from tests.chart.reviewed import golden_text
from tests.chart.validation import faults

# The oldest that Chart.yaml takes, the newest there is, and two between.
KUBERNETES: Final = ("1.31", "1.33", "1.35", "1.37")

cases = pytest.mark.parametrize("case", CASES)


def test_helm_finds_nothing_to_complain_about() -> None:
    for case in CASES:
        told = helm.helm("lint", "--strict", str(CHART), *CASES[case])
        assert 0 == told.code, (case, told.out, told.err)


@cases
def test_each_object_is_valid_on_every_kubernetes(case: str) -> None:
    found = [
        fault
        for version in KUBERNETES
        for one in helm.objects(case)
        for fault in faults(one, version)
    ]
    assert [] == found


def test_the_oldest_kubernetes_is_the_one_that_the_chart_declares() -> None:
    declared = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))["kubeVersion"]
    assert f">={KUBERNETES[0]}.0-0" == declared


def test_a_fault_in_an_object_is_noticed() -> None:
    service = helm.one("default", "Service", "fluxpay")
    assert [] != faults({**service, "spec": {**service["spec"], "portz": []}}, KUBERNETES[0])
    (monitor, *_) = helm.of_kind("otel", "PodMonitor")
    assert [] != faults({**monitor, "spec": {**monitor["spec"], "selectors": {}}}, KUBERNETES[0])


@cases
def test_two_renders_are_the_same_to_the_byte(case: str) -> None:
    assert helm.rendered(case) == helm.template(*CASES[case]).out


@cases
def test_a_render_is_the_one_that_was_reviewed(case: str) -> None:
    """`make chart` writes what is rendered now; read its diff before you commit it."""
    kept = Path(__file__).with_name("golden") / f"{case}.yaml"
    assert kept.read_text("utf-8") == golden_text(case)


def test_no_reviewed_render_is_left_over() -> None:
    kept = {path.stem for path in Path(__file__).with_name("golden").glob("*.yaml")}
    assert set(CASES) == kept


@cases
def test_names_are_unique_and_every_object_lies_in_the_namespace_of_the_release(case: str) -> None:
    found = helm.objects(case)
    names = [
        (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in found
    ]
    assert sorted(set(names), key=str) == sorted(names, key=str)
    cluster_wide = {
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "PriorityClass",
    }
    # Extra objects are the user's, and helm puts them there by itself.
    own = [one for one in found if "helm.sh/chart" in one["metadata"].get("labels", {})]
    elsewhere = [
        helm.label(one)
        for one in own
        if one["kind"] not in cluster_wide and one["metadata"].get("namespace") != helm.NAMESPACE
    ]
    expected = (
        4 if case == "everything" else 0
    )  # The operator's rights in the namespaces it works in.
    assert expected == len(elsewhere), elsewhere


def test_names_fit_however_long_the_release_is_called() -> None:
    told = helm.helm(
        "template",
        f"r.{'r' * 51}",
        str(CHART),
        f"--namespace={'n' * 63}",
        "--set=migration.mode=job",
    )
    assert 0 == told.code, told.err
    names = [one["metadata"]["name"] for one in helm.parsed(told.out)]
    own = [name for name in names if not name.startswith("n" * 63) and name != "tenants.fluxpay.io"]
    assert [] == [name for name in own if len(name) > 63 or "." in name]


def test_nothing_in_the_templates_differs_from_render_to_render_or_asks_the_cluster() -> None:
    forbidden = re.compile(
        r"\b(rand\w+|lookup|gen\w*(CA|Cert|Key)\w*|now|uuidv4|htpasswd|Capabilities|shuffle)\b"
    )
    found = [
        (path.name, hit[0])
        for path in sorted((CHART / "templates").rglob("*"))
        if path.is_file()
        for hit in forbidden.finditer(path.read_text("utf-8"))
    ]
    assert [] == found
