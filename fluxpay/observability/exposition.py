"""The page that Prometheus fetches, and what every process tells on it about itself.

Knows the client library's registry and formats, and what is the same for service, worker and
operator: the process, the interpreter, the build, and how late the event loop is. Must not know
what else a process measures.
"""

import asyncio
import platform
from time import perf_counter
from types import TracebackType
from typing import Final

from prometheus_client import PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from fluxpay import __version__
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
    return registry


def exposition(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Write everything down: the text and its content type, OpenMetrics where asked for."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class LoopLag:
    """Measures how late the event loop comes to what is due, for the length of a `with` block.

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
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0

    def __enter__(self) -> None:
        """Begin to look."""
        self._look_later()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self) -> None:
        # Not the loop's own clock: uvloop reads it once a turn, and late is what a turn makes us.
        self._due_s = perf_counter() + _LOOK_EVERY_S
        self._timer = asyncio.get_running_loop().call_later(_LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        self._lags.observe((), max(0.0, perf_counter() - self._due_s))
        self._look_later()
