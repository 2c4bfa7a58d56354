"""What becomes of a tenant whose resource goes, and how one is taken over."""

from __future__ import annotations

import asyncio

import pytest

from tests.cluster.kubectl import Kubectl
from tests.cluster.operating import Launch, Operator, eventually, until
from tests.cluster.shop import Shop, ask_admin, key, manifest
from tests.e2e.serving import Service


def is_gone(kubectl: Kubectl, name: str = "shop") -> bool:
    return "NotFound" in kubectl.ask("get", "tenant", name).err


async def delete(kubectl: Kubectl, name: str = "shop") -> None:
    kubectl.run("delete", "tenant", name, "--wait=false")
    await until(lambda: is_gone(kubectl, name), what="the resource to go")


@pytest.mark.usefixtures("operator")
async def test_a_retained_tenant_goes_on_and_can_be_described_anew(
    shop: Shop, kubectl: Kubectl
) -> None:
    shop.apply()
    await shop.becomes("Ready")
    tenant_id, token = await shop.tenant_id(), shop.token()
    await delete(kubectl)
    assert 201 == await shop.pays(token)
    assert "ownerReferences" not in kubectl.get("secret", "shop-till")["metadata"]
    shop.apply(tenantID=tenant_id, displayName="The same shop")
    await shop.becomes("Ready")
    assert token == shop.token()
    assert kubectl.get("secret", "shop-till")["metadata"]["ownerReferences"]
    _, found = await shop.admin("GET")
    assert ("The same shop", 2) == (found["display_name"], found["generation"])
    assert 1 == len(await shop.living_keys())


@pytest.mark.usefixtures("operator")
async def test_a_deleted_tenant_is_closed_and_its_secret_goes(shop: Shop, kubectl: Kubectl) -> None:
    shop.apply(deletionPolicy="Delete")
    await shop.becomes("Ready")
    tenant_id, token = await shop.tenant_id(), shop.token()
    await delete(kubectl)
    assert shop.secret() is None
    await eventually(lambda: shop.answers(401, token), patience_s=10)
    url = f"{shop.service.admin_url}/admin/v1/tenants/{tenant_id}"
    assert "closed" == (await ask_admin("GET", url))[1]["state"]
    assert "TenantClosed" in shop.reasons()


async def test_a_deletion_that_cannot_be_done_says_so_and_can_be_forced(
    shop: Shop, kubectl: Kubectl, launch: Launch
) -> None:
    async with launch.running():
        shop.apply(deletionPolicy="Delete")
        await shop.becomes("Ready")
    launch.admin_url = "http://127.0.0.1:9"
    async with launch.running():
        kubectl.run("delete", "tenant", "shop", "--wait=false")
        await shop.becomes("Degraded", reason="DeletionBlocked", patience_s=90)
        message = shop.conditions()["Stalled"]["message"]
        assert "kubectl annotate tenant shop fluxpay.io/force-delete=true" in message
        assert not is_gone(kubectl)
        shop.annotate("fluxpay.io/force-delete=true")
        await until(lambda: is_gone(kubectl), what="the resource to go")
        assert "DeletionForced" in shop.reasons()


async def test_a_deletion_goes_on_once_the_service_is_back(
    shop: Shop, kubectl: Kubectl, launch: Launch
) -> None:
    async with launch.running():
        shop.apply(deletionPolicy="Delete")
        await shop.becomes("Ready")
    kubectl.run("delete", "tenant", "shop", "--wait=false")
    await asyncio.sleep(1)
    assert not is_gone(kubectl)
    async with launch.running():
        await until(lambda: is_gone(kubectl), what="the resource to go")


@pytest.mark.usefixtures("operator")
async def test_a_tenant_made_by_hand_is_adopted_and_keeps_the_keys_of_people(
    shop: Shop, service: Service
) -> None:
    tenant_id = "ten_01jzc7m0q8e9vs2dw4xg5tb6nm"
    url = f"{service.admin_url}/admin/v1/tenants/{tenant_id}"
    spec = {
        "generation": 41,
        "display_name": "By hand",
        "environment": "test",
        "state": "active",
        "currencies": ["EUR"],
    }
    assert 201 == (await ask_admin("PUT", url, spec))[0]
    body = {"name": "of a person", "scopes": ["payments:write"]}
    _, made = await ask_admin("POST", f"{url}/keys", body)
    shop.apply(tenantID=tenant_id)
    await shop.becomes("Ready")
    assert (tenant_id, 41) == (
        shop.resource()["status"]["tenantID"],
        shop.resource()["status"]["generationBase"],
    )
    _, found = await ask_admin("GET", url)
    assert (42, "Shop") == (found["generation"], found["display_name"])
    assert [201, 201] == [await shop.pays(), await shop.pays(made["api_key"])]
    shop.patch({"spec": {"displayName": "Renamed"}})
    await shop.becomes("Ready")
    assert 43 == (await ask_admin("GET", url))[1]["generation"]


@pytest.mark.usefixtures("operator")
async def test_of_two_resources_for_one_tenant_the_older_has_it(
    shop: Shop, kubectl: Kubectl, service: Service
) -> None:
    shop.apply()
    await shop.becomes("Ready")
    tenant_id = await shop.tenant_id()
    # The age of a resource counts whole seconds.
    await asyncio.sleep(1.1)
    thief = Shop(kubectl, service, "thief")
    told = kubectl.apply(
        manifest("thief", key(), tenantID=tenant_id, deletionPolicy="Delete", state="suspended")
    )
    assert told.code == 0, told.err
    await thief.becomes("Stalled", reason="TenantClaimed")
    assert thief.secret() is None
    await delete(kubectl, "thief")
    assert 201 == await shop.pays()


@pytest.mark.usefixtures("operator")
async def test_the_younger_of_two_resources_has_the_tenant_once_the_older_is_gone(
    shop: Shop, kubectl: Kubectl, service: Service
) -> None:
    shop.apply()
    await shop.becomes("Ready")
    shop.patch({"spec": {"displayName": "The older"}})
    await shop.becomes("Ready")
    await asyncio.sleep(1.1)
    younger = Shop(kubectl, service, "younger")
    younger.apply(tenantID=await shop.tenant_id())
    await younger.becomes("Stalled", reason="TenantClaimed")
    await delete(kubectl)
    await younger.becomes("Ready")
    assert "Younger" == (await younger.admin("GET"))[1]["display_name"]
    assert 201 == await younger.pays()


async def test_an_operator_that_starts_leaves_a_tenant_to_the_older_of_two_resources(
    shop: Shop, kubectl: Kubectl, launch: Launch
) -> None:
    # In every list the younger comes first.
    younger = Shop(kubectl, shop.service, "a-shop")
    async with launch.running():
        shop.apply()
        await shop.becomes("Ready")
        await asyncio.sleep(1.1)
        younger.apply(tenantID=await shop.tenant_id())
        await younger.becomes("Stalled", reason="TenantClaimed")
    younger.patch({"spec": {"state": "suspended"}})
    async with launch.running():
        await younger.becomes("Stalled", reason="TenantClaimed")
    assert younger.secret() is None
    _, found = await shop.admin("GET")
    assert ("Shop", "active", 1) == (found["display_name"], found["state"], found["generation"])


@pytest.mark.usefixtures("operator")
async def test_a_generation_that_somebody_wrote_past_the_resource_is_told(shop: Shop) -> None:
    shop.apply()
    await shop.becomes("Ready")
    _, found = await shop.admin("GET")
    spec = {name: found[name] for name in ("environment", "currencies")}
    body = {**spec, "generation": 9, "display_name": "Past it", "state": "active"}
    assert 200 == (await shop.admin("PUT", "", body))[0]
    assert 409 == (await shop.admin("PUT", "", {**body, "generation": 2}))[0]
    shop.patch({"spec": {"displayName": "Too late"}})
    await shop.becomes("Stalled", reason="StaleGeneration")
    assert "Past it" == (await shop.admin("GET"))[1]["display_name"]


async def test_a_tenant_that_is_closed_stays_so(shop: Shop, operator: Operator) -> None:
    shop.apply()
    await shop.becomes("Ready")
    await shop.admin("DELETE")
    shop.patch({"spec": {"displayName": "Not again"}})
    await shop.becomes("Stalled", reason="TenantClosed")
    assert 200 == (await operator.health("live"))[0]
