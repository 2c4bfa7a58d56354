"""The Lease has one holder; who cannot renew it stops before another may begin."""

import asyncio
import copy
from contextlib import suppress
from typing import Any

from fluxpay_operator.kube import Document, KubeConflict, KubeUnavailable
from fluxpay_operator.leadership import DURATION_S, RENEW_DEADLINE_S, Leadership, new_identity


class Leases:
    """An API server that knows one Lease; `is_away` takes it away."""

    def __init__(self) -> None:
        self.lease_now: Document | None = None
        self.version = 0
        self.is_away = False

    async def lease(self, _namespace: str, _name: str) -> Document | None:
        self._answer()
        return copy.deepcopy(self.lease_now)

    async def create_lease(self, lease: Document) -> Document | None:
        self._answer()
        if self.lease_now is not None:
            raise KubeConflict(409, "there is one")
        return self._keep(lease)

    async def replace_lease(self, lease: Document) -> Document | None:
        self._answer()
        if lease["metadata"]["resourceVersion"] != str(self.version):
            raise KubeConflict(409, "it has changed")
        return self._keep(lease)

    def spec(self) -> dict[str, Any]:
        assert self.lease_now is not None
        found: dict[str, Any] = self.lease_now["spec"]
        return found

    def _answer(self) -> None:
        if self.is_away:
            raise KubeUnavailable("away")

    def _keep(self, lease: Document) -> Document:
        self.version += 1
        self.lease_now = copy.deepcopy(lease)
        self.lease_now["metadata"]["resourceVersion"] = str(self.version)
        return self.lease_now


class Clock:
    """A clock that goes when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def candidate(leases: Leases, clock: Clock, identity: str) -> Leadership:
    return Leadership(
        leases,  # type: ignore[arg-type]
        namespace="here",
        name="lease",
        identity=identity,
        monotonic_s=clock,
    )


async def test_the_first_gets_it_and_the_second_waits() -> None:
    leases, clock = Leases(), Clock()
    first, second = candidate(leases, clock, "first"), candidate(leases, clock, "second")
    assert [True, False] == [await first._try(), await second._try()]
    assert "first" == leases.spec()["holderIdentity"]


async def test_it_is_taken_over_once_it_was_not_renewed_for_its_duration() -> None:
    leases, clock = Leases(), Clock()
    first, second = candidate(leases, clock, "first"), candidate(leases, clock, "second")
    await first._try()
    await second._try()
    clock.now_s += DURATION_S - 1
    assert await first._try()
    assert not await second._try()
    clock.now_s += DURATION_S - 1
    assert not await second._try()
    clock.now_s += 1
    assert await second._try()
    assert ("second", 1) == (leases.spec()["holderIdentity"], leases.spec()["leaseTransitions"])
    assert not await first._try()


async def test_of_two_that_try_at_once_one_wins() -> None:
    leases, clock = Leases(), Clock()
    candidates = [candidate(leases, clock, f"number {number}") for number in range(5)]
    assert 1 == sum(await asyncio.gather(*(one._try() for one in candidates)))


async def test_a_lease_that_was_given_back_is_free_at_once() -> None:
    leases, clock = Leases(), Clock()
    first, second = candidate(leases, clock, "first"), candidate(leases, clock, "second")
    await first._try()
    await first._give_back()
    assert await second._try()


async def test_only_the_holder_gives_it_back() -> None:
    leases, clock = Leases(), Clock()
    first, second = candidate(leases, clock, "first"), candidate(leases, clock, "second")
    await first._try()
    await second._give_back()
    assert "first" == leases.spec()["holderIdentity"]


async def test_a_leader_that_cannot_renew_stops_acting_before_its_lease_is_over() -> None:
    leases = Leases()
    loop = asyncio.get_running_loop()
    # The time of this test passes faster: ten of its seconds are a third of a real one.
    begun_s = loop.time()
    leadership = Leadership(
        leases,  # type: ignore[arg-type]
        namespace="here",
        name="lease",
        identity="first",
        monotonic_s=lambda: (loop.time() - begun_s) * 30,
    )
    acting, stopped = asyncio.Event(), asyncio.Event()

    async def lead() -> None:
        acting.set()
        try:
            await asyncio.sleep(3600)
        finally:
            stopped.set()

    task = asyncio.create_task(leadership.run(lead))
    async with asyncio.timeout(20):
        await acting.wait()
        leases.is_away = True
        await stopped.wait()
    assert not leadership.is_leader
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert DURATION_S > RENEW_DEADLINE_S


async def test_what_ends_the_acting_by_a_bug_ends_the_leadership() -> None:
    leases, clock = Leases(), Clock()
    leadership = candidate(leases, clock, "first")

    async def lead() -> None:
        raise RuntimeError("a bug")

    outcome = await asyncio.gather(leadership.run(lead), return_exceptions=True)
    assert ["a bug"] == [str(one) for one in outcome]
    assert "" == leases.spec()["holderIdentity"]


def test_no_two_processes_have_one_identity() -> None:
    assert new_identity() != new_identity()
