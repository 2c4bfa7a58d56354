"""The API server restarts, cuts its watches, falls silent or forgets: the next change is seen."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubeconfig import Endpoint, write_kubeconfig
from tests.cluster.kubectl import Kubectl
from tests.cluster.operating import Launch, Operator, Site, eventually, until
from tests.cluster.shop import Shop
from tests.faults.proxy import FaultProxy

PATIENCE_S = 90
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
async def line(site: Site, launch: Launch) -> AsyncIterator[FaultProxy]:
    """What the operator reaches the API server through."""
    host, _, port = site.plane.endpoint.url.removeprefix("https://").partition(":")
    async with FaultProxy((host, int(port))) as proxy:
        path = site.folder / "through-the-line.kubeconfig"
        known = json.loads(site.account.kubeconfig.read_text(encoding="utf-8"))
        endpoint = Endpoint(f"https://{proxy.host}:{proxy.port}", site.plane.endpoint.authority)
        token = known["users"][0]["user"]["token"]
        write_kubeconfig(path, endpoint, token=token, namespace=site.admin.namespace)
        launch.kubeconfig = path
        yield proxy


async def settled(shop: Shop) -> None:
    shop.apply()
    await shop.becomes("Ready")


async def sees_the_next_change(shop: Shop, name: str) -> None:
    shop.patch({"spec": {"displayName": name}})
    await shop.becomes("Ready", patience_s=PATIENCE_S)
    assert name == (await shop.admin("GET"))[1]["display_name"]


@pytest.mark.parametrize("at_once", [False, True], ids=["asked", "killed"])
async def test_a_change_after_a_restart_of_the_api_server_is_seen(
    control_plane: ControlPlane, operator: Operator, shop: Shop, at_once: bool
) -> None:
    await settled(shop)
    control_plane.restart_api(at_once=at_once)
    await sees_the_next_change(shop, "After the restart")
    assert operator.process.returncode is None


async def test_a_change_that_is_made_before_the_operator_can_come_back_is_seen(
    line: FaultProxy, launch: Launch, shop: Shop
) -> None:
    async with launch.running() as operator:
        await settled(shop)
        line.cut()
        await sees_the_next_change(shop, "After the cut")
        await line.refuse()
        shop.patch({"spec": {"displayName": "While it was away"}})
        await asyncio.sleep(12)
        await line.heal()
        await shop.becomes("Ready", patience_s=PATIENCE_S)
        assert "While it was away" == (await shop.admin("GET"))[1]["display_name"]
        assert [200, 200] == [(await operator.health(one))[0] for one in ("live", "ready")]


async def test_a_watch_that_has_fallen_silent_is_noticed_without_a_word_from_the_network(
    line: FaultProxy, control_plane: ControlPlane, launch: Launch, shop: Shop
) -> None:
    async with launch.running():
        await settled(shop)
        line.blackhole()
        start = control_plane.audit_log.stat().st_size
        # The old connections stay dead, and nobody says so.
        line.carry_new_ones()

        def leads_again() -> bool:
            asked = control_plane.requests(user=launch.site.user, start=start)
            return any(one.resource == "leases" and one.verb == "update" for one in asked)

        await until(leads_again, what="the Lease to be renewed by a new connection")
        # A leader that begins anew looks at all tenants; what comes later, the watch must see.
        await asyncio.sleep(5)
        await sees_the_next_change(shop, "Into the silence")


async def test_a_version_that_is_gone_leads_to_a_new_list(
    line: FaultProxy, control_plane: ControlPlane, launch: Launch, shop: Shop, kubectl: Kubectl
) -> None:
    async with launch.running() as operator:
        await settled(shop)
        await line.refuse()
        shop.patch({"spec": {"displayName": "Past the gone version"}})
        kubectl.run("delete", "secret", "shop-till")
        forget_history(control_plane, shop)
        start = control_plane.audit_log.stat().st_size
        await line.heal()
        await shop.becomes("Ready", patience_s=PATIENCE_S)
        assert "Past the gone version" == (await shop.admin("GET"))[1]["display_name"]
        await eventually(lambda: shop.answers(201))

        def listed() -> bool:
            asked = control_plane.requests(user=launch.site.user, start=start)
            return {"tenants", "secrets"} <= {one.resource for one in asked if one.verb == "list"}

        # Each watch comes back in its own time.
        await until(listed, what="both lists to be read anew")
        assert operator.process.returncode is None


def forget_history(plane: ControlPlane, shop: Shop) -> None:
    """Compact the store up to now, and let the API server forget what it remembers itself."""
    revision = int(shop.resource()["metadata"]["resourceVersion"])
    request = urllib.request.Request(  # noqa: S310 - an address of our own
        f"{plane.store_url}/v3/kv/compaction",
        data=json.dumps({"revision": str(revision), "physical": True}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
        assert 200 == answer.status
    plane.restart_api()
