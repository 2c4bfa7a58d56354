"""Redis in a few dicts: counters and replies that may be lost, restored or out of reach any time.

Knows windows and the pure rules of limits and fraud. Must not know the database: what stands here
is a hint, and the simulation takes it away to see that nothing depends on it.
"""

from dataclasses import dataclass, field

from fluxpay.core.fraud import PaymentLimit, Velocity
from fluxpay.core.idempotency import Claim, StoredReply
from fluxpay.core.limits import Quota, WindowCount, admits
from fluxpay.core.money import Money

DAY_MS = 86_400_000


@dataclass(slots=True)
class Counters:
    """Requests and payments, counted by window; in Redis, or in one process while it is gone."""

    requests: dict[tuple[str, str, int, int], int] = field(default_factory=dict)
    payments: dict[tuple[str, str, int], int] = field(default_factory=dict)
    volumes_minor: dict[tuple[str, str, int], int] = field(default_factory=dict)

    def count_request(
        self, tenant_id: str, quotas: tuple[Quota, ...], *, now_ms: int
    ) -> tuple[WindowCount, ...]:
        """Count one request against all quotas, or against none when any is spent."""
        counts = tuple(self._window(tenant_id, quota, now_ms) for quota in quotas)
        if all(admits(*pair) for pair in zip(quotas, counts, strict=True)):
            for quota, count in zip(quotas, counts, strict=True):
                place = (tenant_id, quota.name, quota.window_s, now_ms // quota.window_ms)
                self.requests[place] = count.current + 1
        return counts

    def count_velocity(
        self, tenant_id: str, money: Money, limit: PaymentLimit, *, now_ms: int
    ) -> Velocity:
        """Count one payment, unless that would pass the limit."""
        window = 0 if limit.velocity_window_s is None else now_ms // 1000 // limit.velocity_window_s
        counted = (tenant_id, money.currency, window)
        summed = (tenant_id, money.currency, now_ms // DAY_MS)
        velocity = Velocity(
            count=self.payments.get(counted, 0) + 1,
            volume_minor=self.volumes_minor.get(summed, 0) + money.amount_minor,
        )
        if not velocity.exceeds(limit):
            self.payments[counted] = velocity.count
            self.volumes_minor[summed] = velocity.volume_minor
        return velocity

    def _window(self, tenant_id: str, quota: Quota, now_ms: int) -> WindowCount:
        index, elapsed_ms = divmod(now_ms, quota.window_ms)
        previous, current = (
            self.requests.get((tenant_id, quota.name, quota.window_s, one), 0)
            for one in (index - 1, index)
        )
        return WindowCount(previous, current, elapsed_ms)


@dataclass(slots=True)
class Cache:
    """The part of the world that can be lost."""

    counters: Counters = field(default_factory=Counters)
    replies: dict[tuple[str, str], StoredReply] = field(default_factory=dict)

    def read(self, claim: Claim) -> StoredReply | None:
        """The reply remembered under the claim's key."""
        return self.replies.get((claim.tenant_id, claim.key))

    def remember(self, claim: Claim, reply: StoredReply) -> None:
        """Keep a reply; whatever stood there goes."""
        self.replies[claim.tenant_id, claim.key] = reply

    def snapshot(self) -> "Cache":
        """A copy as it is now, to be restored later."""
        counted = self.counters
        counters = Counters(
            dict(counted.requests), dict(counted.payments), dict(counted.volumes_minor)
        )
        return Cache(counters, dict(self.replies))
