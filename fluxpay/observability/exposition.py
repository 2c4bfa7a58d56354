"""The page that Prometheus fetches, and what every process tells on it about itself.

Knows the client library's registry and formats, and what is the same for service, worker and
operator: the process, the interpreter, the build, and how late the event loop is. Must not know
what else a process measures.
"""

import asyncio
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Final

from prometheus_client import PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from fluxpay import __version__
from fluxpay.observability import logs
from fluxpay.observability.instruments import Distribution, Readings

_LOOK_EVERY_S: Final = 0.25
_LAGS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


def new_registry() -> CollectorRegistry:
    """Make a registry that knows the process and the build."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    labels = (__version__, platform.python_version())
    Readings(
        registry,
        "fluxpay_build_info",
        "1, labelled with what is running.",
        ["version", "python_version"],
        read=lambda: {labels: 1},
    )
    Readings(
        registry,
        "fluxpay_log_lines_dropped",
        "Log lines that were lost because nobody took them.",
        read=lambda: {(): logs.dropped()},
        is_counter=True,
    )
    return registry


def exposition(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Write everything down: the text and its content type, OpenMetrics where asked for."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class LoopLag:
    """Measures how late the event loop comes to what is due.

    A timer four times a second: it sees what holds the loop up for long, as every request does
    that comes meanwhile.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lags = Distribution(
            registry,
            "fluxpay_event_loop_lag_seconds",
            "How late the event loop came to a timer.",
            bounds=_LAGS_S,
        )

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure the running loop for the length of a block."""
        looking = _Looking(lambda lag_s: self._lags.observe((), lag_s))
        try:
            yield
        finally:
            looking.timer.cancel()


class _Looking:
    """A timer that comes again and again, and tells how late it came."""

    def __init__(self, tell: Callable[[float], None]) -> None:
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self.timer = self._begin()

    def _begin(self) -> asyncio.TimerHandle:
        # Not the loop's own clock: uvloop reads it once a turn, and turns are what makes late.
        self._due_s = perf_counter() + _LOOK_EVERY_S
        return self._loop.call_later(_LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        self._tell(max(0.0, perf_counter() - self._due_s))
        self.timer = self._begin()
