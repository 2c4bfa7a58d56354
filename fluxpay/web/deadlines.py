"""One limit on the time of every request, watched over by one timer.

All have the same time, so whoever began first is overdue first, and a timer for the first of them
serves for all. A timer a request, as `asyncio.timeout` arms it, costs a small request a tenth of
its time. Overdue means the same as there: the task is cancelled, and the block raises TimeoutError.

Knows tasks and clocks; must not know what they are about.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from fluxpay.stores.patience import Interruption

if TYPE_CHECKING:
    from types import TracebackType


class Deadlines:
    """Gives every block the same time.

    Args:
        timeout_s: How long a block may take.
    """

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        # In the order in which they are due: a new one is always due last.
        self._running: dict[Deadline, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def limit(self) -> Deadline:
        """Give the limit on the block that enters it."""
        return Deadline(self)

    def begin(self, deadline: Deadline) -> None:
        """Let the time of this one start now."""
        loop = asyncio.get_running_loop()
        due_s = loop.time() + self._timeout_s
        self._running[deadline] = due_s
        if self._timer is None:
            self._timer = loop.call_at(due_s, self._look)

    def end(self, deadline: Deadline) -> None:
        """Watch this one no longer."""
        self._running.pop(deadline, None)

    def _look(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        while self._running:
            deadline, due_s = next(iter(self._running.items()))
            if due_s > now_s:
                self._timer = loop.call_at(due_s, self._look)
                return
            del self._running[deadline]
            deadline.pass_()


class Deadline:
    """The limit on one block. `Deadlines.limit` makes it."""

    __slots__ = ("_interruption", "_owner")

    def __init__(self, owner: Deadlines) -> None:
        self._owner = owner

    def __enter__(self) -> Self:
        """Let the time start."""
        self._interruption = Interruption()
        self._owner.begin(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the time end.

        Raises:
            TimeoutError: It was over before the block was.
        """
        self._owner.end(self)
        self._interruption.settle(error)

    def pause(self) -> None:
        """Wait for somebody else, on their time."""
        self._owner.end(self)

    def resume(self) -> None:
        """Let the whole time start anew."""
        if not self._interruption.has_happened:
            self._owner.begin(self)

    def pass_(self) -> None:
        """Stop the block: its time is over."""
        self._interruption.happen()
