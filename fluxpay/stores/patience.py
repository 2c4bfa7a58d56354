"""Time limits: how a block is stopped, and one that does not blame the server for a late loop.

Knows tasks, event loops and their timers; it knows nothing of what is waited for.
"""

import asyncio
from types import TracebackType
from typing import Final

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


class Patience:
    """Limit a block like `asyncio.timeout`, with one more try when the loop was late.

    A loop that was busy for longer than the limit finds timer and reply due in the same turn, and
    would hold the server guilty of its own delay. It gets the whole time once more, and only once.

    Args:
        timeout_s: How long the block may wait.
    """

    __slots__ = ("_due_s", "_interruption", "_loop", "_timeout_s", "_timer")

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    def __enter__(self) -> None:
        """Let the time start."""
        self._interruption = Interruption()
        self._loop = asyncio.get_running_loop()
        self._due_s = self._loop.time() + self._timeout_s
        self._timer = self._loop.call_at(self._due_s, self._expire)

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
        self._timer.cancel()
        self._interruption.settle(error)

    def _expire(self) -> None:
        if self._loop.time() - self._due_s > self._timeout_s * LATE:
            self._timer = self._loop.call_later(self._timeout_s, self._interruption.happen)
        else:
            self._interruption.happen()
