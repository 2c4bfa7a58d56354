"""One timer for the time limits of all requests."""

import asyncio

import pytest

from fluxpay.web.deadlines import Deadlines


async def wait(deadlines: Deadlines, seconds: float) -> str:
    try:
        with deadlines.limit():
            await asyncio.sleep(seconds)
    except TimeoutError:
        return "late"
    return "in time"


async def test_each_block_that_takes_too_long_is_stopped_and_no_other() -> None:
    deadlines = Deadlines(timeout_s=0.05)
    waits = [wait(deadlines, seconds) for seconds in (0, 30, 0.01, 30)]
    assert ["in time", "late", "in time", "late"] == await asyncio.gather(*waits)


async def test_blocks_that_begin_later_are_watched_as_well() -> None:
    deadlines = Deadlines(timeout_s=0.05)
    first = asyncio.create_task(wait(deadlines, 30))
    await asyncio.sleep(0.03)
    second = asyncio.create_task(wait(deadlines, 30))
    assert ["late", "late"] == [await first, await second]
    assert "late" == await wait(deadlines, 30)


async def test_time_that_was_paused_does_not_count_and_then_starts_anew() -> None:
    deadlines = Deadlines(timeout_s=0.05)
    with deadlines.limit() as deadline:
        deadline.pause()
        await asyncio.sleep(0.15)
        deadline.resume()
    assert "late" == await wait(deadlines, 30)


async def test_a_cancellation_from_outside_stays_one() -> None:
    deadlines = Deadlines(timeout_s=30)
    task = asyncio.create_task(wait(deadlines, 30))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_nothing_is_left_behind_by_blocks_that_ended() -> None:
    deadlines = Deadlines(timeout_s=0.01)
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    assert ["in time"] * 3 == [await wait(deadlines, 0) for _ in range(3)]
    # The timer of the first finds nobody to stop.
    await asyncio.sleep(0.05)
    assert [] == complaints
