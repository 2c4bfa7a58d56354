"""`kill -9` at any step of issuing a key: it converges on exactly one valid key, which pays."""

from __future__ import annotations

import asyncio
import hashlib
import random
from functools import partial

import pytest

from tests.cluster.admin_front import AdminFront, Call
from tests.cluster.kubectl import Kubectl
from tests.cluster.operating import Launch, eventually, until
from tests.cluster.shop import Shop, key
from tests.e2e.serving import Service

SEED = random.randrange(1 << 32)
POINTS = 24
# Longer than a new tenant needs, from the request to make it to its last Event.
WINDOW_S = 0.4


async def converges(shop: Shop) -> None:
    """Wait until the tenant is Ready, and see that there is one valid key and no other digest."""
    await shop.becomes("Ready")
    binding = shop.binding()
    assert 201 == await shop.pays(binding["api-key"])

    async def is_alone() -> bool:
        return [binding["key-id"]] == [one["id"] for one in await shop.living_keys()]

    await eventually(is_alone)
    (only,) = await shop.living_keys()
    assert hashlib.sha256(binding["api-key"].encode()).hexdigest() == only["sha256"]


def is_granted(shop: Shop, wish: str) -> bool:
    """Tell whether the last wish to rotate was granted, and the status says so."""
    return [wish] == [one.get("rotationHandled") for one in shop.resource()["status"]["keys"]]


STEPS = [(moment, number) for moment in ("before", "after") for number in range(3)]
"""The calls that register a tenant and its key: one that looks and two that write."""


@pytest.mark.parametrize(("moment", "number"), STEPS, ids=str)
async def test_a_kill_at_each_call_of_the_admin_api_is_survived(
    launch: Launch, shop: Shop, service: Service, kubectl: Kubectl, moment: str, number: int
) -> None:
    async with AdminFront(service.admin_url) as front:
        launch.admin_url = front.url
        async with launch.running() as operator:

            async def kill(call: Call, at: str) -> None:
                if at == moment and front.calls.index(call) == number:
                    await operator.kill()

            front.around = kill
            shop.apply()
            await until(lambda: operator.process.returncode is not None, what="the kill")
        launch.admin_url = service.admin_url
        kubectl.run("delete", "lease", "fluxpay-operator", "--ignore-not-found")
        async with launch.running():
            await converges(shop)


@pytest.mark.timeout(300)
async def test_kills_at_random_instants_are_survived(
    launch: Launch, shop: Shop, kubectl: Kubectl, service: Service
) -> None:
    chance = random.Random(SEED)
    for point in range(POINTS):
        is_rotation = point % 3 == 2
        async with launch.running() as operator:
            if is_rotation:
                shop.annotate(f"rotate.fluxpay.io/till={point}")
            else:
                shop = Shop(kubectl, service, f"shop-{point}")
                shop.apply(key(rotation={"policy": "OnDemand", "overlap": "0s"}))
            await asyncio.sleep(chance.uniform(0, WINDOW_S))
            await operator.kill()
        # Taken away, to save the time it takes to run out.
        kubectl.run("delete", "lease", "fluxpay-operator", "--ignore-not-found")
        try:
            async with launch.running():
                if is_rotation:
                    # It was Ready before and stays so: the wish tells when it is done.
                    await until(partial(is_granted, shop, str(point)), what="the rotation")
                await converges(shop)
        except BaseException as error:
            error.add_note(f"seed {SEED}, point {point}")
            raise
