"""Requests and payments, counted in this process alone: the stand-in while Redis is gone.

The same rules over the same windows as in `counters.py`, from an empty start: each replica admits
a whole quota of its own until Redis is back. It holds a bounded number of tenants, the least
recently seen leave first, and of each tenant only windows that still weigh.

Knows the core's rules; the clock is passed in. Must not know Redis.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fluxpay.core.effects import (
    CountRequest,
    CountRequestLocally,
    CountVelocity,
    CountVelocityLocally,
)
from fluxpay.core.fraud import PaymentLimit, Velocity
from fluxpay.core.limits import WindowCount, admits

_DAY_MS: Final = 86_400_000
_TENANTS_MAX: Final = 10_000


@dataclass(slots=True)
class _Slices:
    """What was counted in one window and in the one before it; windows are numbered from 1970."""

    window_ms: int
    index: int
    previous: int = 0
    current: int = 0

    def roll(self, index: int) -> None:
        """Go on to a window; what lies further back than the one before is forgotten."""
        if index == self.index:
            return
        self.previous = self.current if index == self.index + 1 else 0
        self.current = 0
        self.index = index


_Windows = dict[tuple[str, int], _Slices]


class LocalCounters:
    """Answers CountRequestLocally and CountVelocityLocally.

    Args:
        now_ms: The wall clock, in milliseconds since 1970.
        tenants_max: How many tenants are remembered at once.
    """

    def __init__(self, now_ms: Callable[[], int], *, tenants_max: int = _TENANTS_MAX) -> None:
        self._now_ms = now_ms
        self._tenants_max = tenants_max
        # In the order in which they were last seen, which a dict keeps.
        self._tenants: dict[str, _Windows] = {}

    def count_request(self, effect: CountRequestLocally | CountRequest) -> tuple[WindowCount, ...]:
        """Count a request against all quotas, or against none when one of them is spent."""
        now_ms = self._now_ms()
        windows = self._seen(effect.tenant_id)
        slices = [
            _slices(windows, quota.name, window_ms=quota.window_ms, now_ms=now_ms)
            for quota in effect.quotas
        ]
        counts = tuple(
            WindowCount(one.previous, one.current, elapsed_ms=now_ms % one.window_ms)
            for one in slices
        )
        if all(map(admits, effect.quotas, counts)):
            for one in slices:
                one.current += 1
        return counts

    def count_velocity(self, effect: CountVelocityLocally | CountVelocity) -> Velocity:
        """Count a payment, unless that would pass the limit. What has no limit is not counted."""
        windows = self._seen(effect.tenant_id)
        payments, volume = self._velocity_slices(windows, effect.limit)
        velocity = Velocity(
            count=payments.current + 1, volume_minor=volume.current + effect.money.amount_minor
        )
        if not velocity.exceeds(effect.limit):
            payments.current = velocity.count
            volume.current = velocity.volume_minor
        return velocity

    def _velocity_slices(self, windows: _Windows, limit: PaymentLimit) -> tuple[_Slices, _Slices]:
        now_ms = self._now_ms()
        # What has no limit gets a slice that nobody keeps.
        payments, volume = _Slices(1, 0), _Slices(1, 0)
        if limit.velocity_count is not None and limit.velocity_window_s:
            window_ms = limit.velocity_window_s * 1000
            name = f"velocity:{limit.currency}"
            payments = _slices(windows, name, window_ms=window_ms, now_ms=now_ms)
        if limit.daily_volume_minor is not None:
            name = f"volume:{limit.currency}"
            volume = _slices(windows, name, window_ms=_DAY_MS, now_ms=now_ms)
        return payments, volume

    def _seen(self, tenant_id: str) -> _Windows:
        windows = self._tenants.pop(tenant_id, None)
        if windows is None:
            windows = {}
            if len(self._tenants) >= self._tenants_max:
                del self._tenants[next(iter(self._tenants))]
        self._tenants[tenant_id] = windows
        return windows


def _slices(windows: _Windows, name: str, *, window_ms: int, now_ms: int) -> _Slices:
    index = now_ms // window_ms
    slices = windows.get((name, window_ms))
    if slices is None:
        # A quota that was renamed or resized leaves its old window behind: it goes out here.
        for key, old in tuple(windows.items()):
            if now_ms // old.window_ms > old.index + 1:
                del windows[key]
        slices = windows[name, window_ms] = _Slices(window_ms, index)
    slices.roll(index)
    return slices
