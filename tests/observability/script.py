"""A stretch of mixed traffic with faults, as long as you like.

Knows when what breaks, as parts of the whole. Must not know what is measured meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from tests.observability.plots import Happening
from tests.observability.stage import Stage
from tests.observability.traffic import Town

Tell = Callable[[str], None]

PEOPLE: Final = 16
RUSH: Final = 24
SLOW_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens. Args: start, end: parts of the whole."""

    start: float
    end: float
    what: str
    begin: Callable[[], Awaitable[None]]
    over: Callable[[], Awaitable[None]]


async def play(stage: Stage, town: Town, *, seconds: float, tell: Tell) -> list[Happening]:
    """Let people live in the town this long, and break and mend things meanwhile.

    Returns: What happened, and when.
    """
    happened: list[Happening] = []
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(town.live(PEOPLE, stop))
        faults = [
            group.create_task(_happen(one, seconds, tell, happened))
            for one in _faults(stage, town, group)
        ]
        group.create_task(_change_tenants(stage, seconds / 12, stop))
        await asyncio.sleep(seconds)
        stop.set()
        for one in faults:
            await one
    return happened


def _faults(stage: Stage, town: Town, group: asyncio.TaskGroup) -> tuple[Fault, ...]:
    async def slow() -> None:
        stage.postgres.delay_s = SLOW_S

    rush_ends = asyncio.Event()

    async def rush() -> None:
        group.create_task(town.live(RUSH, rush_ends))

    async def calm() -> None:
        rush_ends.set()

    return (
        Fault(0.25, 0.38, "Redis is gone", stage.redis.refuse, stage.redis.heal),
        Fault(0.50, 0.56, "Postgres is cut off", stage.postgres.refuse, stage.postgres.heal),
        Fault(0.66, 0.74, "Postgres is slow", slow, stage.postgres.heal),
        Fault(0.80, 0.92, "there is a rush", rush, calm),
    )


async def _happen(fault: Fault, seconds: float, tell: Tell, happened: list[Happening]) -> None:
    await asyncio.sleep(fault.start * seconds)
    tell(fault.what)
    start_s = time.time()
    await fault.begin()
    await asyncio.sleep((fault.end - fault.start) * seconds)
    await fault.over()
    happened.append(Happening(fault.what, start_s, time.time()))


async def _change_tenants(stage: Stage, every_s: float, stop: asyncio.Event) -> None:
    """Somebody edits a tenant now and then."""
    shop, requests = stage.shop("bakery"), 600
    while not stop.is_set():
        requests += 1
        quota = {"name": "default", "requests": requests, "window": "1m"}
        await asyncio.to_thread(shop.patch, {"spec": {"rateLimits": [quota]}})
        await asyncio.sleep(every_s)
