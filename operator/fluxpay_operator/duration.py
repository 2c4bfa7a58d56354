"""Durations as a manifest writes them: `45s`, `30m`, `12h`, `90d`.

One whole number and one unit: short to read, and there is one way only to write what is meant.
Kubernetes reads these texts as durations too (format `duration`), so the CRD's rules compare
them by length of time, not letter by letter.
"""

import re
from datetime import timedelta
from typing import Final, Self

PATTERN: Final = "^[0-9]{1,4}[smhd]$"
CHARS_MAX: Final = 16
"""More than any duration needs, so that a longer text is told by its pattern, not its length."""

_TEXT: Final = re.compile(r"(?P<count>[0-9]{1,4})(?P<unit>[smhd])", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Duration(str):
    """A length of time, as it was written.

    Raises:
        ValueError: The text is not a whole number of at most four digits and one of `s m h d`.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Refuse what is no duration."""
        if _TEXT.fullmatch(text) is None:
            raise ValueError(f"{text!r} is not a duration such as 45s, 30m, 12h or 90d")
        return super().__new__(cls, text)

    @property
    def seconds(self) -> int:
        """The length in seconds; a day has 24 hours."""
        return int(self[:-1]) * _SECONDS[self[-1]]

    @property
    def delta(self) -> timedelta:
        """The length, to be added to an instant."""
        return timedelta(seconds=self.seconds)
