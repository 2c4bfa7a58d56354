"""The shipped rules are what the operator needs: every call works, and none could be left out."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import Kubectl
from tests.cluster.operating import Launch, Site, grant, shipped_rules, until
from tests.cluster.shop import Shop, key

Right = tuple[str, int, str, str]
"""The role, the position of a rule in it, a resource and a verb."""


def rights() -> list[Right]:
    return [
        (role, position, resource, verb)
        for role, rules in shipped_rules().items()
        for position, rule in enumerate(rules)
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


def without(right: Right) -> dict[str, list[dict[str, Any]]]:
    """The shipped rules but for one right."""
    role, position, _, verb = right
    rules = copy.deepcopy(shipped_rules())
    rules[role][position]["verbs"].remove(verb)
    if not rules[role][position]["verbs"]:
        del rules[role][position]
    return rules


def test_no_rule_allows_everything() -> None:
    told = str(shipped_rules())
    assert "*" not in told
    assert 15 == len(rights())


async def live_a_life(shop: Shop, kubectl: Kubectl) -> None:
    """Take a tenant through all that the operator does."""
    shop.apply(key("till"), key("office"), deletionPolicy="Delete")
    await shop.becomes("Ready")
    shop.apply(key("till"), deletionPolicy="Delete")
    await until(lambda: shop.secret("office") is None, what="the Secret to go")
    kubectl.run("delete", "tenant", "shop", "--wait=false")
    await until(lambda: "NotFound" in kubectl.ask("get", "tenant", "shop").err, what="the end")


async def test_with_the_shipped_rules_no_call_is_forbidden_and_none_is_unused(
    control_plane: ControlPlane, launch: Launch, shop: Shop, kubectl: Kubectl, site: Site
) -> None:
    start = control_plane.audit_log.stat().st_size
    async with launch.running():
        await live_a_life(shop, kubectl)
        renewed = ("update", "leases")
        await until(lambda: renewed in used(control_plane, site, start), what="a renewal")
    calls = control_plane.requests(user=site.user, start=start)
    assert [] == [one for one in calls if one.code in {401, 403}]
    # To create by an apply asks for both rights, and is one call; its right has its test below.
    expected = {(verb, resource) for _, _, resource, verb in rights()} - {("create", "secrets")}
    assert expected == used(control_plane, site, start)


@pytest.mark.parametrize("right", rights(), ids=lambda one: f"{one[3]} {one[2]}")
async def test_without_any_one_right_a_call_is_forbidden(
    right: Right, control_plane: ControlPlane, launch: Launch, shop: Shop, site: Site
) -> None:
    rules = without(right)
    grant(site.admin, "tenants", rules["tenants"])
    grant(site.admin, "lease", rules["lease"])
    _, _, resource, verb = right
    asked = "patch" if (verb, resource) == ("create", "secrets") else verb
    start = control_plane.audit_log.stat().st_size
    operator = await launch.begin()
    try:
        shop.apply(key("till"), deletionPolicy="Delete")
        if verb == "delete":
            await shop.becomes("Ready")
            site.admin.run("delete", "tenant", "shop", "--wait=false")
        await until(
            lambda: (asked, resource) in used(control_plane, site, start, code=403),
            what=f"{verb} {resource} to be forbidden",
        )
    finally:
        await operator.kill()


async def test_a_tenant_says_which_right_is_missing(launch: Launch, shop: Shop, site: Site) -> None:
    (right,) = (one for one in rights() if one[2:] == ("secrets", "create"))
    grant(site.admin, "tenants", without(right)["tenants"])
    async with launch.running():
        shop.apply()
        await shop.becomes("Degraded", reason="KubernetesRefused")
        assert 'cannot create resource "secrets"' in shop.conditions()["Degraded"]["message"]
        told = shop.statuses()
        assert ("True", "Unknown") == (told["QuotaApplied"], told["KeysIssued"])
        grant(site.admin, "tenants", shipped_rules()["tenants"])
        await shop.becomes("Ready")


async def test_one_operator_may_serve_the_whole_cluster(
    control_plane: ControlPlane, kubectl: Kubectl, shop: Shop, launch: Launch, site: Site
) -> None:
    other = f"{kubectl.namespace}-too"
    kubectl.run("create", "namespace", other)
    grant(site.admin, "tenants", shipped_rules()["tenants"], scope="Cluster")
    launch.namespaces = ""
    start = control_plane.audit_log.stat().st_size
    async with launch.running():
        shop.kubectl = Kubectl(kubectl.kubeconfig, other)
        shop.kubectl.run("config", "set-context", "test", f"--namespace={other}")
        shop.apply()
        await shop.becomes("Ready")
        assert 201 == await shop.pays()
    calls = control_plane.requests(user=site.user, start=start)
    assert [] == [one for one in calls if one.code in {401, 403}]


def used(
    plane: ControlPlane, site: Site, start: int, *, code: int | None = None
) -> set[tuple[str, str]]:
    """The calls of the operator, as verb and resource."""
    return {
        (one.verb, one.resource)
        for one in plane.requests(user=site.user, start=start)
        if one.resource and code in (None, one.code)
    }
