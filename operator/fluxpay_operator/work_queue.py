"""What is due, and when: each tenant at most once at a time, however often it is asked for.

Knows keys and due times. A key that is asked for while it is being worked on is worked on once
more. After a failure it comes back after a growing, jittered pause; otherwise when its work says.
Work goes on only while `work` runs, so a standby collects and a leader works off.

Must not know what the work is.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import Final

from fluxpay.observability import logs

BACKOFF_S_MIN: Final = 0.5
BACKOFF_S_MAX: Final = 60.0
_EXPONENT_MAX: Final = 16
_LOG: Final = logs.logger("fluxpay.operator")


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """The namespace and the name of a tenant's resource."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def members(self) -> dict[str, str]:
        """What a log line says about whom."""
        return {"namespace": self.namespace, "tenant": self.name}


@dataclass(frozen=True, slots=True)
class Again:
    """When a key comes back.

    Args:
        after_s: At the earliest.
        failed: Whether the pause is to grow from one time to the next.
    """

    after_s: float = 0.0
    failed: bool = False


Work = Callable[[Key, int], Awaitable[Again | None]]
"""Gets the key and how often in a row it has failed; None says that the key is gone."""


class WorkQueue:
    """All keys, those that wait and those that are worked on."""

    def __init__(self) -> None:
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = count()
        self._failures: dict[Key, int] = {}
        self._running: set[Key] = set()
        self._asked_again: set[Key] = set()
        self._changed = asyncio.Event()

    @property
    def depth(self) -> int:
        """How many keys are due now, worked on, or to be tried again after a failure."""
        now_s = asyncio.get_running_loop().time()
        due = {key for key, due_s in self._due.items() if due_s <= now_s}
        # Between two tries nothing is due, and the work is not done all the same.
        return len(due | self._running | self._failures.keys())

    def add(self, key: Key, *, after_s: float = 0.0) -> None:
        """Ask for a key; the earliest time that was asked for counts."""
        if key in self._running:
            self._asked_again.add(key)
            return
        due_s = asyncio.get_running_loop().time() + after_s
        if due_s < self._due.get(key, float("inf")):
            self._push(key, due_s)

    def is_waiting(self, key: Key) -> bool:
        """Whether the work on a key has not come to its end yet."""
        now_s = asyncio.get_running_loop().time()
        return key in self._running or self._due.get(key, float("inf")) <= now_s

    async def work(self, work: Work, *, workers: int) -> None:
        """Work off what is due, until cancelled; what was being worked on then is due again."""
        free = asyncio.Semaphore(workers)
        async with asyncio.TaskGroup() as tasks:
            while True:
                await free.acquire()
                key = await self._next()
                tasks.create_task(self._work_on(key, work, free))

    async def _work_on(self, key: Key, work: Work, free: asyncio.Semaphore) -> None:
        again: Again | None = Again()
        try:
            again = await work(key, self._failures.get(key, 0))
        except Exception:  # noqa: BLE001
            # A bug must not end the work on all other tenants; it is counted, and tried again.
            _LOG.exception("work_failed", **key.members)
            again = Again(failed=True)
        finally:
            free.release()
            self._running.discard(key)
            self._come_back(key, again)

    def _come_back(self, key: Key, again: Again | None) -> None:
        asked_again = key in self._asked_again
        self._asked_again.discard(key)
        if again is None or not again.failed:
            self._failures.pop(key, None)
        else:
            self._failures[key] = self._failures.get(key, 0) + 1
        if asked_again:
            self.add(key)
        if again is None:
            return
        pause_s = back_off_s(self._failures[key]) if again.failed else 0.0
        self.add(key, after_s=max(again.after_s, pause_s))

    async def _next(self) -> Key:
        loop = asyncio.get_running_loop()
        while True:
            while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
                heapq.heappop(self._heap)
            if self._heap and self._heap[0][0] <= loop.time():
                _, _, key = heapq.heappop(self._heap)
                del self._due[key]
                self._running.add(key)
                return key
            self._changed.clear()
            pause_s = self._heap[0][0] - loop.time() if self._heap else None
            try:
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _push(self, key: Key, due_s: float) -> None:
        self._due[key] = due_s
        heapq.heappush(self._heap, (due_s, next(self._order), key))
        self._changed.set()


def back_off_s(failures: int) -> float:
    """How long to wait after so many failures in a row: half of a doubling time, and up to all."""
    whole_s = min(BACKOFF_S_MAX, BACKOFF_S_MIN * (1 << min(failures, _EXPONENT_MAX)))
    return spread(whole_s)


def spread(whole_s: float) -> float:
    """Half of a time, and up to all of it, by chance: a thousand tenants must not march in step."""
    return whole_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreading wants no secrecy
