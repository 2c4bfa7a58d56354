"""Of several operators one acts; when it dies, hangs or goes, another one does."""

from __future__ import annotations

import signal
from datetime import datetime

from tests.cluster.kubectl import Kubectl
from tests.cluster.operating import Launch, Operator, eventually
from tests.cluster.shop import Shop
from tests.e2e.serving import Service
from tests.observability.exposed import OPERATOR, page

FAILOVER_S = 30


async def role(operator: Operator) -> str:
    found: str = (await operator.health("ready"))[1]["role"]
    return found


async def leads(operator: Operator) -> bool:
    return await role(operator) == "leader"


def holder(kubectl: Kubectl) -> str:
    found: str = kubectl.get("lease", "fluxpay-operator")["spec"]["holderIdentity"]
    return found


async def looked_after(operator: Operator) -> bool:
    """Whether its loop has come to the timer that measures it."""
    return (await page(operator.url)).value("fluxpay_event_loop_lag_seconds_count") > 0


async def test_one_of_two_acts_and_the_other_takes_over_from_a_killed_one(
    launch: Launch, shop: Shop, kubectl: Kubectl, service: Service
) -> None:
    async with launch.running() as first, launch.running() as second:
        await eventually(lambda: leads(first))
        assert "standby" == await role(second)
        assert 200 == (await second.health("ready"))[0]
        shop.apply()
        await shop.becomes("Ready")
        found = await page(second.url)
        assert set() == OPERATOR - set(found.families)
        assert 0 == found.value("fluxpay_operator_leader")
        await eventually(lambda: looked_after(second))
        asked = await page(first.url)
        assert 0 < asked.value("fluxpay_operator_admin_requests_total", result="ok")
        assert "fluxpay_operator_tenants{" not in await second.metrics()
        assert not [one for one in second.lines() if one.get("tenant")]
        await first.kill()
        later = Shop(kubectl, service, "later")
        later.apply()
        await later.becomes("Ready", patience_s=FAILOVER_S)
        assert "leader" == await role(second)
        assert 1 == kubectl.get("lease", "fluxpay-operator")["spec"]["leaseTransitions"]
        assert ["KeyIssued", "TenantRegistered"] == shop.reasons()


async def test_one_that_goes_hands_over_at_once(launch: Launch, shop: Shop) -> None:
    async with launch.running() as first:
        await eventually(lambda: leads(first))
        async with launch.running() as second:
            assert 0 == await first.stop()
            await eventually(lambda: leads(second), patience_s=8)
            shop.apply()
            await shop.becomes("Ready")


async def test_one_that_hung_finds_itself_replaced_and_stands_by(
    launch: Launch, shop: Shop, kubectl: Kubectl
) -> None:
    async with launch.running() as first, launch.running() as second:
        await eventually(lambda: leads(first))
        before = holder(kubectl)
        first.process.send_signal(signal.SIGSTOP)
        try:
            await eventually(lambda: leads(second), patience_s=FAILOVER_S)
        finally:
            first.process.send_signal(signal.SIGCONT)
        await eventually(lambda: stands_by(first))
        assert before != holder(kubectl)
        shop.apply()
        await shop.becomes("Ready")
        assert ["KeyIssued", "TenantRegistered"] == shop.reasons()


async def test_the_lease_is_renewed_and_given_back(launch: Launch, kubectl: Kubectl) -> None:
    async with launch.running() as operator:
        await eventually(lambda: leads(operator))
        before = kubectl.get("lease", "fluxpay-operator")["spec"]

        async def is_renewed() -> bool:
            spec = kubectl.get("lease", "fluxpay-operator")["spec"]
            return datetime.fromisoformat(spec["renewTime"]) > datetime.fromisoformat(
                before["renewTime"]
            )

        await eventually(is_renewed)
        after = kubectl.get("lease", "fluxpay-operator")["spec"]
        assert before["holderIdentity"] == after["holderIdentity"]
        assert before["acquireTime"] == after["acquireTime"]
    assert "" == kubectl.get("lease", "fluxpay-operator")["spec"].get("holderIdentity", "")


async def stands_by(operator: Operator) -> bool:
    return await role(operator) == "standby"
