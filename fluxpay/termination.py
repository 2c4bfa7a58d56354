"""How a process is told to end: the first signal asks for it, the second one insists.

Knows signals and event loops; must not know what there is to end.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_KILLED: Final = 128


@contextmanager
def termination() -> Iterator[asyncio.Event]:
    """Give an event that the first signal sets, and afterwards the handlers that were there."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    told = asyncio.Event()
    listen(told)
    try:
        yield told
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def listen(told: asyncio.Event) -> None:
    """Set the event at the first signal and end the process at the second one.

    It takes the place of whatever handlers are there, such as a library's own.
    """
    loop = asyncio.get_running_loop()

    def begin() -> None:
        told.set()
        for number in _SIGNALS:
            # Not the default action: process 1 of a container ignores signals without a handler.
            loop.add_signal_handler(number, os._exit, _KILLED + number)

    for number in _SIGNALS:
        loop.add_signal_handler(number, begin)
