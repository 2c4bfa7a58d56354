"""The admin API is down, slow, refusing or broken: conditions tell, and nobody storms it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime
from itertools import pairwise

import pytest

from tests.cluster.admin_front import AdminFront
from tests.cluster.kubectl import Kubectl
from tests.cluster.operating import Launch, Operator, eventually, until
from tests.cluster.shop import Shop, key, manifest
from tests.e2e.serving import Service

SIX = {"Ready", "KeysIssued", "QuotaApplied", "Degraded", "Reconciling", "Stalled"}


@pytest.fixture
async def front(service: Service, launch: Launch) -> AsyncIterator[AdminFront]:
    async with AdminFront(service.admin_url) as standing:
        launch.admin_url = standing.url
        yield standing


@pytest.fixture
async def fronted(launch: Launch, front: AdminFront) -> AsyncIterator[Operator]:
    assert front.url == launch.admin_url
    async with launch.running() as running:
        yield running


def first_said_after_s(shop: Shop) -> float:
    """How long after its creation a tenant was told how it stands, to the second."""
    resource = shop.resource()
    made = datetime.fromisoformat(resource["metadata"]["creationTimestamp"])
    said = [one["lastTransitionTime"] for one in resource["status"]["conditions"]]
    return max((datetime.fromisoformat(one) - made).total_seconds() for one in said)


FAULTS: dict[str, dict[str, object]] = {
    "down": {"drops": True},
    "slow": {"delay_s": 60.0},
    "broken": {"answers": 500},
    "overloaded": {"answers": 503},
    "does not know us": {"answers": 401},
    "forbids": {"answers": 403},
}


@pytest.mark.usefixtures("fronted")
@pytest.mark.parametrize("case", FAULTS)
async def test_a_new_tenant_is_told_of_the_trouble_and_gets_ready_once_it_is_over(
    case: str, shop: Shop, front: AdminFront
) -> None:
    for name, value in FAULTS[case].items():
        setattr(front, name, value)
    shop.apply()
    await until(lambda: SIX <= set(shop.conditions()), what="the conditions", patience_s=10)
    # Two seconds are promised; a busy machine and times of whole seconds get some more.
    assert first_said_after_s(shop) <= 5
    told = shop.statuses()
    assert ("Unknown", "True", "False") == (
        told["Ready"],
        told["Reconciling"],
        told["Stalled"],
    )
    if case != "slow":
        expected = "AdminNotAdmitted" if front.answers in {401, 403} else "AdminUnavailable"
        await shop.becomes("Degraded", reason=expected)
        assert ["Warning"] == [kind for kind, reason, _ in shop.events() if reason == expected]
    assert shop.secret() is None
    front.answers, front.delay_s, front.drops = None, 0.0, False
    if case in {"does not know us", "forbids", "slow"}:
        # It would be tried again in its own time; a change is not kept waiting.
        shop.patch({"spec": {"displayName": "Again"}})
    await shop.becomes("Ready", patience_s=40)
    assert {"Degraded": "False", "Reconciling": "False"}.items() <= shop.statuses().items()
    assert 201 == await shop.pays()
    assert 1 == shop.reasons().count("Recovered")


@pytest.mark.usefixtures("fronted")
async def test_a_tenant_that_was_ready_stays_so_while_nobody_can_be_asked(
    shop: Shop, front: AdminFront
) -> None:
    shop.apply()
    await shop.becomes("Ready")
    front.answers = 503
    shop.annotate("rotate.fluxpay.io/till=now")
    await shop.becomes("Degraded", reason="AdminUnavailable")
    assert ("True", "True") == tuple(shop.statuses()[one] for one in ("Ready", "Reconciling"))
    shop.patch({"spec": {"displayName": "Newer"}})
    await shop.becomes("Ready", "Unknown", "AdminUnavailable")
    assert 201 == await shop.pays()
    front.answers = None
    await shop.becomes("Ready", patience_s=40)


@pytest.mark.usefixtures("fronted")
@pytest.mark.parametrize("status", [400, 401, 403, 409, 422])
async def test_an_answer_that_will_not_change_is_not_asked_for_again_and_again(
    status: int, kubectl: Kubectl, service: Service, front: AdminFront
) -> None:
    front.answers = status
    shops = [Shop(kubectl, service, f"shop-{number}") for number in range(5)]
    for shop in shops:
        shop.apply()
    for shop in shops:
        await shop.becomes("Degraded")
    await asyncio.sleep(5)
    # One each; the greeting and the Secret's event make no second one.
    assert len(shops) == len(front.calls)


@pytest.mark.usefixtures("fronted")
async def test_retries_come_ever_more_rarely_and_apart(
    kubectl: Kubectl, service: Service, front: AdminFront
) -> None:
    front.answers = 503
    begun_s = time.monotonic()
    names = [f"shop-{number}" for number in range(8)]
    for name in names:
        assert 0 == kubectl.apply(manifest(name)).code
    await until(lambda: len(front.since(begun_s)) >= 8 * 4, what="some retries")
    tries: dict[str, list[float]] = {}
    for call in front.calls:
        tries.setdefault(call.path, []).append(call.at_s)
    for at in tries.values():
        pauses = [later - earlier for earlier, later in pairwise(at)]
        # At least half of 1, 2, 4 … seconds.
        assert all(pause >= 0.45 * 2**number for number, pause in enumerate(pauses)), pauses
    seconds = [at[2] - at[1] for at in tries.values() if len(at) > 2]
    assert max(seconds) - min(seconds) > 0.05, "they march in step"
    front.answers = None
    for name in names:
        await Shop(kubectl, service, name).becomes("Ready")


@pytest.mark.usefixtures("fronted")
async def test_the_pause_that_the_service_asks_for_is_kept(shop: Shop, front: AdminFront) -> None:
    front.answers, front.headers = 429, {"Retry-After": "6"}
    shop.apply()
    await until(lambda: len(front.calls) >= 2, what="the second try")
    first, second = front.calls[:2]
    assert second.at_s - first.at_s >= 6
    front.answers = None
    await shop.becomes("Ready")


async def test_a_rotated_admin_token_is_taken_up_without_a_restart(
    shop: Shop, launch: Launch, fronted: Operator
) -> None:
    path = launch.site.folder / "admin-token"
    good = path.read_text(encoding="utf-8")
    path.write_text("withdrawn", encoding="utf-8")
    shop.apply(key())
    await shop.becomes("Degraded", reason="AdminNotAdmitted")
    path.write_text(f"{good}\nnext-one", encoding="utf-8")
    shop.patch({"spec": {"displayName": "Again"}})
    await shop.becomes("Ready")
    assert 200 == (await fronted.health("ready"))[0]


async def test_a_dead_service_leaves_the_operator_alive_and_ready(
    shop: Shop, front: AdminFront, fronted: Operator
) -> None:
    front.drops = True
    shop.apply()
    await shop.becomes("Degraded")

    async def is_counted() -> bool:
        return 'fluxpay_operator_tenants{condition="Degraded",status="True"} 1.0' in (
            await fronted.metrics()
        )

    await eventually(is_counted)
    assert [200, 200] == [(await fronted.health(one))[0] for one in ("live", "ready")]
