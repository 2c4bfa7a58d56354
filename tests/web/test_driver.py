"""The one loop: effects in their order, answers and errors back, and nothing left half way."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import pytest

from fluxpay.core.effects import (
    CountRequestLocally,
    Effect,
    FindPayment,
    FindTenant,
    Step,
    Unavailable,
)
from fluxpay.stores.problems import StoreUnavailable
from fluxpay.web.driver import drive
from fluxpay.web.telemetry import PROCESS
from tests.observability.exposed import OPENMETRICS, read

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


def measured(effect: str, error_type: str) -> float:
    """How often an operation ended so in this process."""
    page = read(PROCESS.exposition(OPENMETRICS)[0].decode(), is_openmetrics=True)
    return sum(
        float(sample.value)
        for sample in page.families["db_client_operation_duration_seconds"].samples
        if sample.name.endswith("_count")
        and (effect, error_type)
        == (sample.labels["db_operation_name"], sample.labels["error_type"])
    )


OUTCOMES: dict[str, tuple[object, str]] = {
    "an answer": ("one", ""),
    "an answer that the store is gone": (Unavailable("redis"), "Unavailable"),
    "a fault of the store": (StoreUnavailable("gone"), "StoreUnavailable"),
    "a fault of ours": (KeyError("bug"), "_OTHER"),
}


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_an_effect_is_measured_with_what_came_of_it(outcome: str) -> None:
    answer, error_type = OUTCOMES[outcome]
    before = measured("FindTenant", error_type)
    with suppress(StoreUnavailable, KeyError):
        await drive(iter(TENANT), Scripted(answer).as_world())
    assert 1 == measured("FindTenant", error_type) - before


async def test_an_effect_that_was_given_up_is_measured_as_such() -> None:
    before = measured("FindTenant", "CancelledError")
    driving = asyncio.create_task(drive(iter(TENANT), Scripted(asyncio.Event()).as_world()))
    await asyncio.sleep(0)
    driving.cancel()
    with suppress(asyncio.CancelledError):
        await driving
    assert 1 == measured("FindTenant", "CancelledError") - before


async def test_what_memory_answers_is_no_operation_of_a_database() -> None:
    before = measured("CountRequestLocally", "")
    await drive(iter(CountRequestLocally("ten", ())), Scripted(()).as_world())
    assert 0 == before == measured("CountRequestLocally", "")


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
