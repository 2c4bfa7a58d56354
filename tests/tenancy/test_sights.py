"""An event gives a tenant a turn if its turn could come out otherwise, and else it does not."""

import asyncio
import copy
from typing import TYPE_CHECKING, Any, cast

import pytest

from fluxpay_operator.process import see_all
from fluxpay_operator.sights import Sights
from fluxpay_operator.work_queue import Again, Key, WorkQueue

if TYPE_CHECKING:
    from fluxpay_operator.kube import Kube

SHOP = Key("shops", "shop")


class Turns(WorkQueue):
    """A queue that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Key] = []

    def add(self, key: Key, *, after_s: float = 0.0) -> None:
        self.asked.append(key)
        super().add(key, after_s=after_s)


@pytest.fixture
async def turns() -> Turns:
    return Turns()


@pytest.fixture
async def sights(turns: Turns) -> Sights:
    return Sights(turns)


def tenant(name: str = "shop", **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "shops",
            "name": name,
            "uid": f"00000000-0000-4000-8000-{sum(name.encode()):012d}",
            "generation": 1,
            "creationTimestamp": "2026-11-28T12:00:00Z",
            "resourceVersion": "1",
            **metadata,
        },
        "spec": {},
        "status": {"conditions": []},
    }


def secret(**metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "shops",
            "name": "shop-till",
            "resourceVersion": "5",
            "labels": {"fluxpay.io/tenant": "shop"},
            "ownerReferences": [{"name": "shop", "uid": "u"}],
            **metadata,
        }
    }


CHANGES: dict[str, tuple[dict[str, Any], bool]] = {
    "its spec": ({"generation": 2}, True),
    "its deletion": ({"deletionTimestamp": "2026-11-28T13:00:00Z"}, True),
    "a wish": ({"annotations": {"rotate.fluxpay.io/till": "now"}}, True),
    "letting go": ({"annotations": {"fluxpay.io/force-delete": "true"}}, True),
    "another object of that name": ({"uid": "00000000-0000-4000-8000-000000000009"}, True),
    "its status, by ourselves": ({"resourceVersion": "2"}, False),
    "its finalizers, by ourselves": ({"finalizers": ["fluxpay.io/operator"]}, False),
    "an annotation of somebody else": ({"annotations": {"mine": "1"}}, False),
}


@pytest.mark.parametrize("case", CHANGES)
async def test_a_change_gives_a_turn_if_it_matters(case: str, sights: Sights, turns: Turns) -> None:
    change, matters = CHANGES[case]
    sights.tenant(None, tenant())
    assert [SHOP] == turns.asked
    sights.tenant("MODIFIED", tenant(**change))
    assert matters == (len(turns.asked) == 2)


async def test_a_list_that_is_read_again_gives_no_turns(sights: Sights, turns: Turns) -> None:
    for _ in range(3):
        sights.tenant(None, tenant())
    assert [SHOP] == turns.asked


async def test_our_own_write_of_a_secret_gives_no_turn_and_anothers_does(
    sights: Sights, turns: Turns
) -> None:
    sights.tenant(None, tenant())
    sights.placed(secret())
    sights.secret("ADDED", secret())
    assert [SHOP] == turns.asked
    assert frozenset({"shop-till"}) == sights.secrets_of(SHOP)
    sights.secret("MODIFIED", secret(resourceVersion="6"))
    assert [SHOP, SHOP] == turns.asked


async def test_a_secret_that_goes_gives_a_turn_also_when_only_its_label_went(
    sights: Sights, turns: Turns
) -> None:
    sights.tenant(None, tenant())
    sights.secret(None, secret())
    before = len(turns.asked)
    sights.secret("DELETED", secret(labels={}))
    assert before + 1 == len(turns.asked)
    assert frozenset() == sights.secrets_of(SHOP)


async def test_a_secret_of_nobody_gives_no_turn(sights: Sights, turns: Turns) -> None:
    sights.secret(None, secret())
    assert [] == turns.asked


async def test_of_two_that_claim_a_tenant_the_older_has_it_until_it_goes(
    sights: Sights, turns: Turns
) -> None:
    first, second = tenant("first"), tenant("second", creationTimestamp="2026-11-28T12:00:01Z")
    for one in (first, second):
        one["spec"] = {"tenantID": "ten_01jzc7m0q8e9vs2dw4xg5tb6nk"}
        sights.tenant(None, copy.deepcopy(one))
    keys = Key("shops", "first"), Key("shops", "second")
    assert [False, True] == [sights.is_claimed_elsewhere(key) for key in keys]
    turns.asked.clear()
    sights.tenant("DELETED", first)
    assert set(keys) == set(turns.asked)
    assert not sights.is_claimed_elsewhere(keys[1])


async def test_all_tenants_are_seen_before_the_first_turn(sights: Sights) -> None:
    older, younger = tenant("z-older"), tenant("younger", creationTimestamp="2026-11-28T12:00:01Z")
    older["metadata"]["namespace"] = "others"
    for one in (younger, older):
        one["spec"] = {"tenantID": "ten_01jzc7m0q8e9vs2dw4xg5tb6nk"}
    lists: dict[str, list[dict[str, Any]] | None] = {"shops": [younger], "others": None}

    class Listing:
        async def list_tenants(self, namespace: str) -> list[dict[str, Any]] | None:
            return lists[namespace]

    kube = cast("Kube", Listing())
    assert not await see_all(kube, sights, lists)
    lists["others"] = [older]
    assert await see_all(kube, sights, lists)
    assert sights.is_claimed_elsewhere(Key("shops", "younger"))
    assert not sights.is_claimed_elsewhere(Key("others", "z-older"))


async def test_the_younger_of_two_gets_a_turn_when_the_older_is_seen_later(
    sights: Sights, turns: Turns
) -> None:
    older, younger = tenant("older"), tenant("younger", creationTimestamp="2026-11-28T12:00:01Z")
    for one in (younger, older):
        one["spec"] = {"tenantID": "ten_01jzc7m0q8e9vs2dw4xg5tb6nk"}
    sights.tenant(None, younger)
    turns.asked.clear()
    sights.tenant(None, older)
    assert {Key("shops", "older"), Key("shops", "younger")} == set(turns.asked)
    turns.asked.clear()
    sights.tenant("MODIFIED", copy.deepcopy(older))
    assert [] == turns.asked


async def test_a_tenant_that_a_turn_finds_gone_claims_nothing_any_more(
    sights: Sights, turns: Turns
) -> None:
    older, younger = tenant("older"), tenant("younger", creationTimestamp="2026-11-28T12:00:01Z")
    for one in (older, younger):
        one["spec"] = {"tenantID": "ten_01jzc7m0q8e9vs2dw4xg5tb6nk"}
        sights.tenant(None, one)
    turns.asked.clear()
    sights.gone(Key("shops", "older"))
    assert [Key("shops", "younger")] == turns.asked
    assert not sights.is_claimed_elsewhere(Key("shops", "younger"))


async def test_a_new_tenant_is_greeted_if_its_turn_takes_longer_than_a_moment(
    sights: Sights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxpay_operator.sights.GREET_AFTER_S", 0.01)
    greeted: list[Key] = []
    sights.greet = greeted.append
    for name in ("slow", "quick", "known"):
        seen = tenant(name)
        if name != "known":
            del seen["status"]
        sights.tenant("ADDED", seen)
    sights.settled(Key("shops", "quick"))
    await asyncio.sleep(0.1)
    assert [Key("shops", "slow")] == greeted


async def test_everybody_gets_a_turn_when_the_leader_is_new(sights: Sights, turns: Turns) -> None:
    for name in ("one", "two"):
        sights.tenant(None, tenant(name))
    seen: list[Key] = []

    async def work(key: Key, _: int) -> Again | None:
        seen.append(key)
        return Again(after_s=3600)

    for _ in range(2):
        sights.ask_for_all()
        task = asyncio.create_task(turns.work(work, workers=2))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert 4 == len(seen)
