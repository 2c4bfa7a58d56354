"""A time limit that does not blame the server for a loop that stood still."""

import asyncio
import time

import pytest

from fluxpay.stores.patience import Patience, Watch


async def test_what_takes_longer_than_the_limit_is_stopped() -> None:
    with pytest.raises(TimeoutError), Patience(Watch(0.02)):
        await asyncio.Event().wait()


async def test_what_is_done_in_time_is_left_alone() -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    with Patience(Watch(0.02)):
        await asyncio.sleep(0)
    # The limit passes meanwhile; a timer left behind would find nothing to limit.
    await asyncio.sleep(0.05)
    assert [] == complaints


async def test_a_loop_that_stood_still_gets_the_time_once_more() -> None:
    asyncio.get_running_loop().call_soon(time.sleep, 0.2)
    with Patience(Watch(0.05)):
        # Due while the loop stands still, but later than the limit.
        await asyncio.sleep(0.1)


async def test_a_loop_that_stood_still_gets_it_only_once() -> None:
    asyncio.get_running_loop().call_soon(time.sleep, 0.2)
    with pytest.raises(TimeoutError), Patience(Watch(0.05)):
        await asyncio.Event().wait()


async def test_a_cancellation_from_outside_stays_one() -> None:
    async def wait() -> None:
        with Patience(Watch(30)):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_one_timer_stops_each_in_its_turn_and_nobody_else() -> None:
    watch = Watch(0.05)
    stopped: list[str] = []

    async def wait(name: str, *, begins_s: float, lasts_s: float) -> None:
        await asyncio.sleep(begins_s)
        try:
            with Patience(watch):
                await asyncio.sleep(lasts_s)
        except TimeoutError:
            stopped.append(name)

    await asyncio.gather(
        wait("second", begins_s=0.03, lasts_s=30),
        wait("quick", begins_s=0, lasts_s=0.01),
        wait("first", begins_s=0, lasts_s=30),
        wait("third", begins_s=0.2, lasts_s=30),
    )
    assert ["first", "second", "third"] == stopped
