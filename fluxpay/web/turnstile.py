"""One at a time: whoever comes with a claim that is being worked on waits for its turn.

The database decides every race; this spares it the races that one process can see, and lets the
twin of a request be answered from the cache. First come, first served, and nobody waits for ever.

Must not know what is done behind it.
"""

import asyncio
from collections import deque
from typing import Final

Place = tuple[str, str]
"""Tenant and key: twins share it."""

_QUEUE_MAX: Final = 256


class Turnstile:
    """Lets one through for each place; the others stand in line."""

    def __init__(self, *, wait_s: float) -> None:
        self._wait_s = wait_s
        self._lines: dict[Place, deque[asyncio.Future[None]]] = {}

    async def enter(self, place: Place) -> bool:
        """Wait for the turn; whoever gets True must `leave`."""
        line = self._lines.get(place)
        if line is None:
            self._lines[place] = deque()
            return True
        if len(line) >= _QUEUE_MAX:
            return False
        turn = asyncio.get_running_loop().create_future()
        line.append(turn)
        try:
            async with asyncio.timeout(self._wait_s):
                await turn
        except TimeoutError:
            return self._gave_up(place, turn)
        except asyncio.CancelledError:
            # Nobody is left to go through: the turn, if it came just now, is the next one's.
            if self._gave_up(place, turn):
                self.leave(place)
            raise
        return True

    def leave(self, place: Place) -> None:
        """Let the next one through."""
        line = self._lines[place]
        while line:
            turn = line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._lines[place]

    def _gave_up(self, place: Place, turn: "asyncio.Future[None]") -> bool:
        """Stand out of the line. True means that the turn had come in the same moment."""
        if turn.done() and not turn.cancelled():
            return True
        turn.cancel()
        line = self._lines.get(place)
        if line is not None and turn in line:
            line.remove(turn)
        return False
