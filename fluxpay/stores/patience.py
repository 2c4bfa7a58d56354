"""A time limit that does not blame the server for a loop that stood still.

Knows event loops and their timers; it knows nothing of what is waited for.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

# A timer that fires this part of its time late was held up by the loop.
LATE: Final = 0.1


@asynccontextmanager
async def patience(timeout_s: float) -> AsyncIterator[None]:
    """Limit the block like `asyncio.timeout`, with one more try when the loop was late.

    A loop that was busy for longer than the limit finds timer and reply due in the same turn, and
    would hold the server guilty of its own delay. It gets the whole time once more, and only once.
    """
    loop = asyncio.get_running_loop()
    due_s = loop.time() + timeout_s
    timer: asyncio.TimerHandle
    async with asyncio.timeout(None) as limit:

        def expire() -> None:
            nonlocal timer
            if loop.time() - due_s > timeout_s * LATE:
                timer = loop.call_later(timeout_s, limit.reschedule, 0)
            else:
                limit.reschedule(0)

        timer = loop.call_later(timeout_s, expire)
        try:
            yield
        finally:
            timer.cancel()
