"""One limit on the time of every request, watched over by one timer.

Overdue means the same as to `asyncio.timeout`: the task is cancelled, and the block raises
TimeoutError. Its timer a request would cost a small one a tenth of its time.

Knows tasks and clocks; must not know what they are about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from fluxpay.stores.patience import Interruption, Watch

if TYPE_CHECKING:
    from types import TracebackType


class Deadlines:
    """Gives every block the same time.

    Args:
        timeout_s: How long a block may take.
    """

    def __init__(self, *, timeout_s: float) -> None:
        self._watch = Watch(timeout_s)

    def limit(self) -> Deadline:
        """Give the limit on the block that enters it."""
        return Deadline(self._watch)


class Deadline:
    """The limit on one block. `Deadlines.limit` makes it."""

    __slots__ = ("_interruption", "_watch")

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def __enter__(self) -> Self:
        """Let the time start."""
        self._interruption = Interruption()
        self._watch.begin(self)
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
        self._watch.end(self)
        self._interruption.settle(error)

    def pause(self) -> None:
        """Wait for somebody else, on their time."""
        self._watch.end(self)

    def resume(self) -> None:
        """Let the whole time start anew."""
        if not self._interruption.has_happened:
            self._watch.begin(self)

    def overdue(self, late_s: float) -> None:  # noqa: ARG002 - however late: a request is not sent again
        """Stop the block: its time is over."""
        self._interruption.happen()
