"""Rate limits: quotas over sliding windows, and whether a request is admitted or throttled.

A window is counted in fixed slices; the slice before the current one is weighed by the part of
it that the sliding window still covers, so a client gains nothing by waiting for a boundary.
All sums are integers: a weight is a fraction of the window in milliseconds, multiplied out.

Knows counts and quotas; must not know where they are counted. The same rule stands in the Redis
script, since counting and deciding must be one atomic call there; a contract test holds the two
together. Source: draft-ietf-httpapi-ratelimit-headers-10 for the header fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fluxpay.core.effects import CountRequest, CountRequestLocally, Unavailable
from fluxpay.core.problems import Code, Refused

if TYPE_CHECKING:
    from fluxpay.core.effects import Step


@dataclass(frozen=True, slots=True)
class Quota:
    """How many requests a tenant may make in a window.

    Args:
        name: The quota's name in the RateLimit fields.
        requests: How many a window holds.
        window_s: The window's length in seconds.
        burst: How many one window may hold when the one before left quota unused; at least
            `requests`, and no more than twice as many have an effect.
        route: `POST /v1/payments` or `/v1/payments`: what the quota is for; None for all routes.
    """

    name: str
    requests: int
    window_s: int
    burst: int | None = None
    route: str | None = None

    @property
    def window_ms(self) -> int:
        """The window's length in milliseconds."""
        return self.window_s * 1000

    def ceiling(self, previous: int) -> int:
        """The most this window may hold, given how many the one before held."""
        if self.burst is None:
            return self.requests
        unused = max(0, self.requests - previous)
        return self.requests + min(unused, self.burst - self.requests)


DEFAULT_QUOTA: Final = Quota(name="default", requests=6000, window_s=60)
"""Holds wherever a tenant has no quota that matches."""


@dataclass(frozen=True, slots=True)
class WindowCount:
    """What was counted before a request.

    Args:
        previous: Requests admitted in the window before this one.
        current: Requests admitted in this window so far.
        elapsed_ms: How much of this window has passed; less than the window.
    """

    previous: int
    current: int
    elapsed_ms: int


@dataclass(frozen=True, slots=True)
class QuotaState:
    """One quota after a request, as the RateLimit fields tell it."""

    quota: Quota
    remaining: int
    reset_s: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """The request may go on."""

    states: tuple[QuotaState, ...]


@dataclass(frozen=True, slots=True)
class Throttled:
    """The request came too soon."""

    states: tuple[QuotaState, ...]
    quota: Quota
    retry_after_s: int

    def refusal(self) -> Refused:
        """The refusal to answer with."""
        return Refused(
            Code.RATE_LIMITED,
            f"The quota {self.quota.name!r} allows {self.quota.requests} requests "
            f"in {self.quota.window_s} s.",
            retry_after_s=self.retry_after_s,
        )


def quotas_for(quotas: tuple[Quota, ...], *, method: str, route: str) -> tuple[Quota, ...]:
    """The quotas that hold for a route template; never none."""
    names = (None, route, f"{method} {route}")
    return tuple([quota for quota in quotas if quota.route in names]) or (DEFAULT_QUOTA,)


def admits(quota: Quota, count: WindowCount) -> bool:
    """Tell whether the quota has room for one more request."""
    window_ms = quota.window_ms
    covered_ms = window_ms - count.elapsed_ms
    weighed = count.previous * covered_ms + (count.current + 1) * window_ms
    return weighed <= quota.ceiling(count.previous) * window_ms


def aged(quota: Quota, count: WindowCount, wait_s: int) -> WindowCount:
    """What the count will be after this many seconds if nobody asks meanwhile."""
    windows, elapsed_ms = divmod(count.elapsed_ms + wait_s * 1000, quota.window_ms)
    if windows == 0:
        return WindowCount(count.previous, count.current, elapsed_ms)
    return WindowCount(count.current if windows == 1 else 0, 0, elapsed_ms)


def retry_after_s(quota: Quota, count: WindowCount) -> int:
    """The whole seconds, at least 1, after which the quota has room if nobody else takes it."""
    room = quota.ceiling(count.previous) - count.current - 1
    if room >= 0:
        # The window before fades until what it still weighs fits into the room that is left.
        fade_ms = _fade_ms(quota, weight=count.previous, room=room)
        wait_s = _whole_s(fade_ms - count.elapsed_ms)
        # Rounded up it may end in the next window, which holds less when this one was a burst.
        if admits(quota, aged(quota, count, wait_s)):
            return wait_s
    # This window is full. It becomes the one before, and then has to fade itself.
    room = quota.ceiling(count.current) - 1
    fade_ms = _fade_ms(quota, weight=count.current, room=room)
    return _whole_s(quota.window_ms - count.elapsed_ms + fade_ms)


def decide(quotas: tuple[Quota, ...], counts: tuple[WindowCount, ...]) -> Admitted | Throttled:
    """Admit the request if every quota does; otherwise name the one that keeps it longest."""
    pairs = tuple(zip(quotas, counts, strict=True))
    for quota, count in pairs:
        if not admits(quota, count):
            return _throttled(pairs)
    return Admitted(tuple([_state(quota, count, taken=1) for quota, count in pairs]))


def admit(tenant_id: str, quotas: tuple[Quota, ...]) -> Step[Admitted | Throttled]:
    """Count a request and decide on it. Without Redis this process counts alone."""
    counts = yield from CountRequest(tenant_id, quotas)
    if isinstance(counts, Unavailable):
        counts = yield from CountRequestLocally(tenant_id, quotas)
    return decide(quotas, counts)


def policy_field(states: tuple[QuotaState, ...]) -> str:
    """The value of `RateLimit-Policy`."""
    return ", ".join(
        [
            f'"{state.quota.name}";q={state.quota.requests};w={state.quota.window_s}'
            for state in states
        ]
    )


def limit_field(states: tuple[QuotaState, ...]) -> str:
    """The value of `RateLimit`."""
    return ", ".join(
        [f'"{state.quota.name}";r={state.remaining};t={state.reset_s}' for state in states]
    )


def _throttled(pairs: tuple[tuple[Quota, WindowCount], ...]) -> Throttled:
    wait_s, quota = _longest_wait(pairs)
    states = tuple(_state(*pair, taken=0) for pair in pairs)
    return Throttled(states, quota=quota, retry_after_s=wait_s)


def _longest_wait(pairs: tuple[tuple[Quota, WindowCount], ...]) -> tuple[int, Quota]:
    """When all quotas have room at once, in whole seconds, and which of them has it last."""
    wait_s, keeper = 0, pairs[0][0]
    while True:
        # A quota with room now may lack it later: a burst weighs on the window that follows it.
        later = ((quota, aged(quota, count, wait_s)) for quota, count in pairs)
        waits = [(retry_after_s(*pair), pair[0]) for pair in later if not admits(*pair)]
        if not waits:
            return wait_s, keeper
        longest_s, keeper = max(waits, key=lambda one: one[0])
        wait_s += longest_s


def _whole_s(wait_ms: int) -> int:
    """Milliseconds as whole seconds, rounded up, and at least 1."""
    return max(1, -(-wait_ms // 1000))


def _fade_ms(quota: Quota, *, weight: int, room: int) -> int:
    """When, in ms from a window's start, the window before it weighs no more than the room."""
    if weight <= room:
        return 0
    return quota.window_ms - room * quota.window_ms // weight


def _state(quota: Quota, count: WindowCount, *, taken: int) -> QuotaState:
    window_ms = quota.window_ms
    covered_ms = window_ms - count.elapsed_ms
    # Rounds the weight up, so that `remaining` never promises a request that would be throttled.
    weighed = -(-count.previous * covered_ms // window_ms)
    left = quota.ceiling(count.previous) - weighed - count.current - taken
    return QuotaState(quota, remaining=max(0, left), reset_s=_whole_s(covered_ms))
