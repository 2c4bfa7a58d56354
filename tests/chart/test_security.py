"""Nothing in the chart that a security review would stop."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.chart import helm
from tests.chart.helm import CASES, CHART, Object, containers, pods
from tests.chart.pod_security import violations
from tests.toolbox.environments import python_of
from tests.toolbox.supply import program

CHECKOV_CONFIG: Final = CHART / ".checkov.yaml"
PATHS: Final = "/run/fluxpay/secrets/"

cases = pytest.mark.parametrize("case", CASES)


@cases
def test_every_pod_is_restricted(case: str) -> None:
    found = {name: violations(pod) for name, pod in pods(case).items()}
    assert {name: [] for name in found} == found
    assert len(found) >= 6


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("spec", {"hostNetwork": True}),
        ("spec", {"volumes": [{"name": "node", "hostPath": {"path": "/"}}]}),
        ("container", {"securityContext": {}}),
        ("container", {"ports": [{"containerPort": 1, "hostPort": 1}]}),
        ("spec", {"initContainers": [{"name": "late"}]}),
    ],
)
def test_a_pod_that_is_not_restricted_is_noticed(where: str, what: dict[str, Any]) -> None:
    pod = copy.deepcopy(pods("default")["Deployment/fluxpay-api"])
    (pod["spec"] if where == "spec" else pod["spec"]["containers"][0]).update(what)
    assert [] != violations(pod)


@cases
def test_the_root_of_every_container_is_read_only_and_what_it_may_use_is_bounded(case: str) -> None:
    for name, pod in pods(case).items():
        for one in containers(pod):
            assert one["securityContext"]["readOnlyRootFilesystem"], name
            assert {"cpu", "memory", "ephemeral-storage"} == set(one["resources"]["requests"])
            assert {"memory", "ephemeral-storage"} == set(one["resources"]["limits"])


@cases
def test_only_the_operator_holds_a_token_of_kubernetes(case: str) -> None:
    for name, pod in pods(case).items():
        assert pod["spec"]["automountServiceAccountToken"] is False, name
        tokens = [
            source
            for volume in pod["spec"]["volumes"]
            for source in volume.get("projected", {}).get("sources", [])
            if "serviceAccountToken" in source
        ]
        assert ("operator" in name) == (tokens != []), name


def test_a_pod_is_handed_the_secrets_that_it_needs_and_no_other() -> None:
    expected = {
        "Deployment/fluxpay-api": {"database-url", "redis-url", "admin-token"},
        "Deployment/fluxpay-worker": {"database-url"},
        "Deployment/fluxpay-operator": {"admin-token"},
        "Job/fluxpay-migration": {"owner-database-url"},
        "Job/fluxpay-test-books": {"database-url"},
        "Job/fluxpay-test-schema": {"database-url"},
        "Job/fluxpay-test-reached": set(),
    }
    assert expected == {name: secret_files(pod) for name, pod in pods("default").items()}


@cases
def test_the_owners_url_is_in_no_container_but_the_migrations(case: str) -> None:
    for pod in pods(case).values():
        owners = (
            [
                one["name"]
                for one in containers(pod)
                if "owner-database-url" in json.dumps(one["env"])
            ]
            if all("env" in one for one in containers(pod))
            else []
        )
        assert set(owners) <= {"migrate"}
        for one in containers(pod):
            mounted = {mount["name"] for mount in one["volumeMounts"]}
            assert one["name"] == "migrate" or "owner" not in mounted


@cases
def test_no_secret_stands_in_an_object_or_an_environment(case: str) -> None:
    assert [] == helm.of_kind(case, "Secret")
    for pod in pods(case).values():
        for one in containers(pod):
            from_secrets = [
                variable
                for variable in one.get("env", [])
                if "secretKeyRef" in variable.get("valueFrom", {})
            ]
            assert [] == from_secrets
            assert [] == [each for each in one.get("envFrom", []) if "secretRef" in each]


def test_no_right_of_the_operator_is_a_wildcard() -> None:
    for case in ("default", "everything"):
        rules = [
            rule for role in helm.of_kind(case, "Role", "ClusterRole") for rule in role["rules"]
        ]
        assert rules
        assert [] == [rule for rule in rules if "*" in str(list(rule.values()))]


def test_checkov_finds_nothing_but_what_the_chart_gives_a_reason_for(tmp_path: Path) -> None:
    skipped = yaml.safe_load(CHECKOV_CONFIG.read_text("utf-8"))["skip-check"]
    told = checkov(tmp_path, f"--config-file={CHECKOV_CONFIG}")
    assert [] == failed(told)
    assert told["summary"]["passed"] > 500
    # And each reason is still needed.
    assert set(skipped) == {check for check, _ in failed(checkov(tmp_path))}
    reasons = CHECKOV_CONFIG.read_text("utf-8").count("\n  # ")
    assert len(skipped) == reasons <= 3


def test_kube_score_finds_nothing_but_the_missing_limit_of_cpu(tmp_path: Path) -> None:
    path = tmp_path / "rendered.yaml"
    path.write_text(helm.rendered("default"), "utf-8")
    told = subprocess.run(
        [
            program("kube-score"),
            "score",
            "--kubernetes-version=v1.37",
            "--output-format=json",
            path,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    found = {
        (check["check"]["id"], comment["summary"])
        for one in json.loads(told.stdout)
        for check in one["checks"]
        if not check["skipped"] and check["grade"] < 10
        for comment in check["comments"] or []
    }
    assert {("container-resources", "CPU limit is not set")} == found


def checkov(folder: Path, *options: str) -> dict[str, Any]:
    path = folder / "rendered.yaml"
    path.write_text(helm.rendered("default"), "utf-8")
    told = subprocess.run(
        [
            python_of("checkov"),
            "-m",
            "checkov.main",
            *("--framework=kubernetes", "--skip-download", "--output=json", "--quiet"),
            *options,
            f"--file={path}",
        ],
        cwd=folder,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def failed(told: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["check_id"], one["resource"]) for one in told["results"]["failed_checks"]]


def secret_files(pod: Object) -> set[str]:
    return {
        variable["value"].removeprefix(PATHS)
        for one in containers(pod)
        for variable in one.get("env", [])
        if variable.get("value", "").startswith(PATHS)
    }
