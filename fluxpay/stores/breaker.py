"""When a server that does not answer may be asked again.

Closed, everything passes. A failure opens it: then nothing passes but, after each pause, a single
probe, whose outcome closes it or starts the next pause. So a dead server costs one wait a pause,
and not one a request.

Knows instants and outcomes; it knows neither clock nor server: `now_s` is passed in.
"""

from collections.abc import Callable


class Breaker:
    """Lets calls pass while they succeed.

    Args:
        pause_s: Between a failure and the next probe.
        on_change: Told True when it opens and False when it closes; never twice the same.
    """

    def __init__(self, *, pause_s: float, on_change: Callable[[bool], None]) -> None:
        self._pause_s = pause_s
        self._on_change = on_change
        self._is_open = False
        self._probing = False
        self._probe_at_s = 0.0

    @property
    def is_open(self) -> bool:
        """Whether calls are being refused."""
        return self._is_open

    def admits(self, now_s: float) -> bool:
        """Tell whether a call may pass. While open, the one that may is the probe."""
        if not self._is_open:
            return True
        if self._probing or now_s < self._probe_at_s:
            return False
        self._probing = True
        return True

    def failed(self, now_s: float, *, probe: bool) -> bool:
        """Note a failure; tell whether it is news, and not an echo of the one that opened it."""
        if self._is_open and not probe:
            return False
        self._probe_at_s = now_s + self._pause_s
        self._probing = False
        self._flip(is_open=True)
        return True

    def answered(self, *, probe: bool) -> None:
        """Note a success. One that was asked before the failure says nothing about now."""
        if self._is_open and not probe:
            return
        self._probing = False
        self._flip(is_open=False)

    def _flip(self, *, is_open: bool) -> None:
        if is_open is self._is_open:
            return
        self._is_open = is_open
        self._on_change(is_open)
