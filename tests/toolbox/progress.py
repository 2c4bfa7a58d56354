"""How far a build is: one line that renews itself on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from typing import Final, TextIO

QUIET_S: Final = 20.0
"""How long a log that is no terminal stays silent between two lines."""


class Progress:
    """Counts the steps of one build aloud."""

    def __init__(self, name: str, out: TextIO) -> None:
        self._name = name
        self._out = out
        self._is_terminal = out.isatty()
        self._started_s = time.monotonic()
        self._told_s = self._started_s

    def step(self, done: int, total: int) -> None:
        """Tell how many of how many packages are compiled."""
        now_s = time.monotonic()
        if not self._is_terminal and now_s - self._told_s < QUIET_S:
            return
        self._told_s = now_s
        line = f"tools: {self._name}: {done} of at most {total} packages, {self._elapsed(now_s)}"
        self._out.write(f"\r{line}\x1b[K" if self._is_terminal else f"{line}\n")
        self._out.flush()

    def done(self) -> None:
        """Close the line."""
        line = f"tools: {self._name}: built in {self._elapsed(time.monotonic())}"
        self._out.write(f"\r{line}\x1b[K\n" if self._is_terminal else f"{line}\n")
        self._out.flush()

    def _elapsed(self, now_s: float) -> str:
        minutes, seconds = divmod(int(now_s - self._started_s), 60)
        return f"{minutes} min {seconds:02d} s"
