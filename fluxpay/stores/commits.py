"""What a shell may learn of commits, while it measures them.

The stores hand over what they commit and when, and know nothing of what is made of it.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from fluxpay.core.payment_creation import Posting


class CommitWatch(Protocol):
    """Looks on while payments are committed, many at a time."""

    def queued(self, posting: Posting) -> object | None:
        """Mark a payment that will be committed; called by the very task that posts it."""

    def begun(self, marks: Sequence[Any]) -> Callable[[Exception | None], None]:
        """Learn that so many payments are being committed, by what `queued` made of each.

        Returns:
            What is called when the commit has ended, with what went wrong.
        """


class _Nobody:
    """Looks away."""

    def queued(self, posting: Posting) -> None:
        """Mark nothing."""

    def begun(self, marks: Sequence[Any]) -> Callable[[Exception | None], None]:  # noqa: ARG002 - as the protocol has it
        """Learn nothing."""
        return _ignore


def _ignore(error: Exception | None) -> None:
    """Take no note of how a commit has ended."""


UNWATCHED: Final[CommitWatch] = _Nobody()
