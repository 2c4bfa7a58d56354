"""A watch that notes how many payments each commit took."""

from collections.abc import Callable, Sequence
from typing import Any

from fluxpay.core.payment_creation import Posting


class Sizes(list[int]):
    """The sizes of commits, in their order."""

    def queued(self, posting: Posting) -> None:
        pass

    def begun(self, marks: Sequence[Any]) -> Callable[[Exception | None], None]:
        self.append(len(marks))
        return lambda _: None
