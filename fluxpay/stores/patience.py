"""Time limits: how a block is stopped, and one that does not blame the server for a late loop.

A timer costs several microseconds, armed and cancelled, and nearly all are for nothing. So those
who may take the same time share one: it fires when the first of them is due, if ever.

Knows tasks, event loops and their timers; it knows nothing of what is waited for.
"""

import asyncio
from time import monotonic
from types import TracebackType
from typing import Final, Protocol

# A timer that fires this part of its time late was held up by the loop.
LATE: Final = 0.1


class Interruption:
    """Cancels the running task, and tells that apart from a cancellation by somebody else.

    What `asyncio.timeout` does beside its timer, for those who keep time in another way.

    Raises:
        RuntimeError: No task is running, so there is nobody to cancel.
    """

    __slots__ = ("_cancelling", "_task", "has_happened")

    def __init__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a time limit needs a task")
        self._task = task
        self._cancelling = task.cancelling()
        self.has_happened = False

    def happen(self) -> None:
        """Cancel the task."""
        self.has_happened = True
        self._task.cancel()

    def settle(self, error: BaseException | None) -> None:
        """Take the cancellation back at the end of the block, which ended with this error.

        Raises:
            TimeoutError: The block ended because of it.
        """
        if not self.has_happened:
            return
        is_ours = self._task.uncancel() <= self._cancelling
        if is_ours and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from error


class Watched(Protocol):
    """Whoever has only so much time."""

    def overdue(self, late_s: float) -> None:
        """Hear that the time is over, and since when; the watch has ended."""


class Watch:
    """Watches over all that may take the same time, with one timer.

    Whoever began first is overdue first, and a timer for the first of them serves for all.

    Args:
        timeout_s: How long each may take.
    """

    __slots__ = ("_due_s", "_timer", "timeout_s")

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s: Final = timeout_s
        # In the order in which they are due: a new one is always due last.
        self._due_s: dict[Watched, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, watched: Watched) -> None:
        """Let the time of this one start now."""
        self._due_s[watched] = monotonic() + self.timeout_s
        if self._timer is None:
            self._look_in(self.timeout_s)

    def end(self, watched: Watched) -> None:
        """Watch this one no longer."""
        self._due_s.pop(watched, None)

    def _look_in(self, pause_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(pause_s, self._look)

    def _look(self) -> None:
        now_s = monotonic()
        while self._due_s:
            watched, due_s = next(iter(self._due_s.items()))
            if due_s > now_s:
                self._look_in(due_s - now_s)
                return
            del self._due_s[watched]
            watched.overdue(now_s - due_s)
        self._timer = None


class Patience:
    """Limit a block like `asyncio.timeout`, with one more try when the loop was late.

    A loop that was busy for longer than the limit finds timer and reply due in the same turn, and
    would hold the server guilty of its own delay. It gets the whole time once more, and only once.

    Args:
        watch: Over all that wait for the same.
    """

    __slots__ = ("_has_had_more", "_interruption", "_watch")

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._has_had_more = False

    def __enter__(self) -> None:
        """Let the time start."""
        self._interruption = Interruption()
        self._watch.begin(self)

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
        self._watch.end(self)
        self._interruption.settle(error)

    def overdue(self, late_s: float) -> None:
        """Stop the block, unless it was the loop that was late."""
        if late_s > self._watch.timeout_s * LATE and not self._has_had_more:
            self._has_had_more = True
            self._watch.begin(self)
        else:
            self._interruption.happen()
