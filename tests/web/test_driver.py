"""The one loop: effects in their order, answers and errors back, and nothing left half way."""

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from fluxpay.core.effects import Effect, FindPayment, FindTenant, Step
from fluxpay.stores.problems import StoreUnavailable
from fluxpay.web.driver import drive

if TYPE_CHECKING:
    from fluxpay.web.world import World

TENANT, PAYMENT = FindTenant("ten"), FindPayment("ten", "pay")


class Scripted:
    """A world that answers as told, and notes what it was asked."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked: list[object] = []

    async def perform(self, effect: Effect[object]) -> object:
        self.asked.append(effect)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, asyncio.Event):
            await answer.wait()
        return answer

    def as_world(self) -> "World":
        return cast("World", self)


def two_questions() -> Step[tuple[object, object]]:
    first: object = yield from TENANT
    second: object = yield from PAYMENT
    return first, second


async def test_each_effect_is_performed_once_and_in_order() -> None:
    world = Scripted("one", "two")
    assert ("one", "two") == await drive(two_questions(), world.as_world())
    assert [TENANT, PAYMENT] == world.asked


async def test_a_step_that_asks_nothing_decides_at_once() -> None:
    def decided() -> Step[str]:
        yield from ()
        return "decided"

    assert "decided" == await drive(decided(), Scripted().as_world())


async def test_what_the_world_raises_is_thrown_into_the_step() -> None:
    def careful() -> Step[object]:
        try:
            yield from TENANT
        except StoreUnavailable:
            return (yield from PAYMENT)
        return "not reached"

    world = Scripted(StoreUnavailable("gone"), "second")
    assert "second" == await drive(careful(), world.as_world())
    with pytest.raises(StoreUnavailable):
        await drive(two_questions(), Scripted("one", StoreUnavailable("gone")).as_world())


async def test_a_cancelled_drive_ends_its_step() -> None:
    ended: list[str] = []

    def watched() -> Step[object]:
        try:
            return (yield from TENANT)
        finally:
            ended.append("ended")

    # Held by the test, so that it is not ended by being collected.
    step = watched()
    driving = asyncio.create_task(drive(step, Scripted(asyncio.Event()).as_world()))
    await asyncio.sleep(0)
    driving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await driving
    assert ["ended"] == ended
