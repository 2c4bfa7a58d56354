"""The queue gives each tenant a turn when it is due, one at a time, and later after failures."""

import asyncio
from collections.abc import AsyncIterator, Sized
from contextlib import asynccontextmanager

import pytest

from fluxpay_operator.work_queue import (
    BACKOFF_S_MAX,
    Again,
    Key,
    Work,
    WorkQueue,
    back_off_s,
)

ONE, TWO = Key("shops", "one"), Key("shops", "two")
NEVER = Again(after_s=3600)


@asynccontextmanager
async def working(queue: WorkQueue, work: Work, *, workers: int = 4) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.work(work, workers=workers))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(seen: Sized, count: int) -> None:
    async with asyncio.timeout(10):
        while len(seen) < count:
            await asyncio.sleep(0.005)


async def test_a_key_that_is_asked_for_often_gets_one_turn() -> None:
    queue, seen = WorkQueue(), list[Key]()
    for _ in range(5):
        queue.add(ONE)

    async def work(key: Key, _: int) -> Again | None:
        seen.append(key)
        return NEVER

    async with working(queue, work):
        await until(seen, 1)
        await asyncio.sleep(0.05)
    assert [ONE] == seen


async def test_a_key_that_is_asked_for_during_its_turn_gets_one_more_after_it() -> None:
    queue, seen, at_once = WorkQueue(), list[Key](), 0

    async def work(key: Key, _: int) -> Again | None:
        nonlocal at_once
        at_once += 1
        assert 1 == at_once
        seen.append(key)
        if len(seen) == 1:
            queue.add(ONE)
            queue.add(ONE)
        await asyncio.sleep(0.02)
        at_once -= 1
        return NEVER

    queue.add(ONE)
    async with working(queue, work):
        await until(seen, 2)
        await asyncio.sleep(0.05)
    assert [ONE, ONE] == seen


async def test_the_earliest_time_that_was_asked_for_counts() -> None:
    queue, seen = WorkQueue(), list[Key]()

    async def work(key: Key, _: int) -> Again | None:
        seen.append(key)
        return None

    queue.add(ONE, after_s=3600)
    queue.add(TWO, after_s=3600)
    queue.add(TWO)
    async with working(queue, work):
        await until(seen, 1)
        await asyncio.sleep(0.05)
    assert [TWO] == seen


async def test_a_failed_key_comes_back_and_is_told_how_often_it_failed() -> None:
    queue, seen = WorkQueue(), list[int]()

    async def work(_: Key, failures: int) -> Again | None:
        seen.append(failures)
        return Again(failed=True) if failures < 2 else NEVER

    queue.add(ONE)
    async with working(queue, work):
        await until(seen, 3)
        queue.add(ONE)
        await until(seen, 4)
    assert [0, 1, 2, 0] == seen


async def test_a_bug_in_one_turn_leaves_all_others_their_turns() -> None:
    queue, seen = WorkQueue(), list[Key]()

    async def work(key: Key, _: int) -> Again | None:
        seen.append(key)
        if key == ONE:
            raise RuntimeError("a bug")
        return NEVER

    queue.add(ONE)
    queue.add(TWO)
    async with working(queue, work, workers=1):
        await until(seen, 3)
    assert {ONE, TWO} == set(seen)


async def test_a_turn_that_is_cut_off_is_due_again() -> None:
    queue, seen = WorkQueue(), list[Key]()

    async def work(key: Key, _: int) -> Again | None:
        seen.append(key)
        await asyncio.sleep(3600)
        return NEVER

    queue.add(ONE)
    async with working(queue, work):
        await until(seen, 1)
    assert 1 == queue.depth
    async with working(queue, work):
        await until(seen, 2)
    assert [ONE, ONE] == seen


async def test_a_key_that_failed_waits_until_it_is_done_between_two_tries_too() -> None:
    queue, seen = WorkQueue(), list[int]()

    async def work(_: Key, failures: int) -> Again | None:
        seen.append(failures)
        return Again(after_s=3600, failed=True) if len(seen) == 1 else NEVER

    queue.add(ONE)
    async with working(queue, work):
        await until(seen, 1)
        await asyncio.sleep(0.05)
        assert 1 == queue.depth
        queue.add(ONE)
        await until(seen, 2)
        await asyncio.sleep(0.05)
        assert 0 == queue.depth


async def test_a_gone_key_does_not_come_back() -> None:
    queue, seen = WorkQueue(), list[Key]()

    async def work(key: Key, _: int) -> Again | None:
        seen.append(key)
        return None

    queue.add(ONE)
    async with working(queue, work):
        await until(seen, 1)
        await asyncio.sleep(0.05)
        assert 0 == queue.depth
    assert [ONE] == seen


@pytest.mark.parametrize(
    ("failures", "whole_s"), [(1, 1), (2, 2), (5, 16), (10_000, BACKOFF_S_MAX)]
)
def test_pauses_double_within_a_bound_and_differ(failures: int, whole_s: float) -> None:
    pauses = {back_off_s(failures) for _ in range(50)}
    assert all(whole_s / 2 <= pause <= whole_s for pause in pauses)
    assert len(pauses) > 1
