"""The lag of the loop is measured while the loop runs, and not after."""

import asyncio
import time

from prometheus_client import CollectorRegistry

from fluxpay.observability.exposition import LoopLag, exposition
from tests.observability.exposed import OPENMETRICS, Page, read

PATIENCE_S = 30
NAME = "fluxpay_event_loop_lag_seconds"


def shown(registry: CollectorRegistry) -> Page:
    text, _ = exposition(registry, OPENMETRICS)
    return read(text.decode(), is_openmetrics=True)


async def until_seen(registry: CollectorRegistry, looks: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while shown(registry).value(f"{NAME}_count") < looks:
            await asyncio.sleep(0.02)


async def test_what_holds_the_loop_up_is_seen() -> None:
    registry = CollectorRegistry()
    with LoopLag(registry).measured():
        await until_seen(registry, 1)
        time.sleep(0.6)
        await until_seen(registry, 3)
    page = shown(registry)
    # It was due within a quarter of a second of the six tenths.
    assert 1 <= page.value(f"{NAME}_bucket", le="+Inf") - page.value(f"{NAME}_bucket", le="0.25")


async def test_two_that_look_at_once_end_each_for_itself() -> None:
    registry = CollectorRegistry()
    lag = LoopLag(registry)
    with lag.measured():
        with lag.measured():
            await until_seen(registry, 2)
        seen = shown(registry).value(f"{NAME}_count")
        await until_seen(registry, int(seen) + 1)
    ended = shown(registry).value(f"{NAME}_count")
    await asyncio.sleep(0.6)
    assert ended == shown(registry).value(f"{NAME}_count")
