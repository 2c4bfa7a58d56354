"""Who may speak to whom: the rendered NetworkPolicies, judged as a cluster would judge them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from tests.chart import helm
from tests.chart.helm import Object

API: Final = {"name": "api", "api": 8080, "admin": 8081}
NAMESPACES: Final = ("fluxpay", "monitoring", "kube-system", "elsewhere")


def labels(case: str, component: str) -> dict[str, str]:
    """The labels of a component's pods."""
    for one in helm.objects(case):
        pod = helm.pod_of(one)
        found = {} if pod is None else pod["metadata"]["labels"]
        if found.get("app.kubernetes.io/component") == component:
            return dict(found)
    raise LookupError(component)


def rules(case: str, pod: dict[str, str], direction: str) -> Iterator[Object]:
    """The rules of the policies that select a pod."""
    selecting = [
        one["spec"]
        for one in helm.of_kind(case, "NetworkPolicy")
        if one["spec"]["podSelector"]["matchLabels"].items() <= pod.items()
    ]
    assert [] != [one for one in selecting if direction in one["policyTypes"]], "wide open"
    for one in selecting:
        yield from one.get(direction.lower(), [])


def lets(rule: Object, peer: dict[str, str], namespace: str, port: object) -> bool:
    """Whether a rule lets a pod in some namespace through on a port."""
    key = "from" if "from" in rule else "to"
    if "ports" in rule and port not in [one["port"] for one in rule["ports"]]:
        return False
    if key not in rule:
        return True
    return any(_is(one, peer, namespace) for one in rule[key])


def _is(wanted: Object, peer: dict[str, str], namespace: str) -> bool:
    if "ipBlock" in wanted:
        return False
    named = wanted.get("namespaceSelector")
    own = namespace == "fluxpay" if named is None else True
    spaces = (named or {}).get("matchLabels", {})
    pods = wanted.get("podSelector", {}).get("matchLabels", {})
    is_space = {"kubernetes.io/metadata.name": namespace}.items() >= spaces.items()
    return own and is_space and bool(pods.items() <= peer.items())


def callers(case: str, port: str, component: str = "api") -> set[str]:
    """Who may call a port of a component: our components, and strangers by their namespace."""
    target = labels(case, component)
    found = list(rules(case, target, "Ingress"))
    own = ("api", "worker", "operator", "migration", "test")
    known = {name for name in own if name != "operator" or _has_operator(case)}
    inside = {
        name for name in known if any(lets(r, labels(case, name), "fluxpay", port) for r in found)
    }
    outside = {
        f"a pod in {name}" for name in NAMESPACES if any(lets(r, {}, name, port) for r in found)
    }
    return inside | outside


def _has_operator(case: str) -> bool:
    return any(
        one["metadata"]["name"].endswith("-operator") for one in helm.of_kind(case, "Deployment")
    )


def test_the_admin_port_is_the_operators_alone() -> None:
    assert {"operator"} == callers("default", "admin")


def test_metrics_are_for_the_namespace_that_is_named() -> None:
    assert {"operator", "a pod in kube-system"} == callers("azuremonitor", "admin")


@pytest.mark.parametrize("component", ["worker", "operator"])
def test_the_port_of_probes_and_metrics_is_for_that_namespace_alone(component: str) -> None:
    assert set() == callers("default", "metrics", component)
    assert {"a pod in kube-system"} == callers("azuremonitor", "metrics", component)


def test_anybody_may_call_the_api_until_somebody_is_named() -> None:
    everybody = {f"a pod in {name}" for name in NAMESPACES}
    assert everybody < callers("default", "api")
    assert {"test"} == callers("private", "api")


def test_every_pod_is_under_a_policy_in_both_directions() -> None:
    for component in ("api", "worker", "operator", "migration", "test"):
        for direction in ("Ingress", "Egress"):
            list(rules("default", labels("default", component), direction))


@pytest.mark.parametrize(
    ("component", "ports"),
    [
        ("api", {53, 5432, 6379, 6380}),
        ("worker", {53, 5432}),
        ("migration", {53, 5432}),
        ("operator", {53, 443, 6443, 8081}),
        ("test", {53, 5432, 8080}),
    ],
)
def test_a_pod_reaches_what_it_needs_and_nothing_else(component: str, ports: set[int]) -> None:
    found = rules("default", labels("default", component), "Egress")
    assert ports == {one["port"] for rule in found for one in rule["ports"]}


def test_who_sends_spans_reaches_the_collector_of_the_preset() -> None:
    for component in ("api", "worker", "operator"):
        found = list(rules("otel", labels("otel", component), "Egress"))
        assert any(lets(rule, {}, "observability", 4318) for rule in found)
        assert not any(lets(rule, {}, "elsewhere", 4318) for rule in found)


def test_without_public_egress_no_rule_leads_to_just_anywhere() -> None:
    for component in ("api", "worker", "operator", "migration", "test"):
        found = list(rules("private", labels("private", component), "Egress"))
        assert [] == [rule for rule in found if not rule.get("to")]


def test_no_route_and_no_ingress_leads_to_the_admin_port() -> None:
    for one in helm.of_kind("everything", "Ingress", "HTTPRoute"):
        assert "admin" not in str(one["spec"])
        assert "8081" not in str(one["spec"])
    admin = helm.one("everything", "Service", "everything-admin")
    assert "ClusterIP" == admin["spec"]["type"]
