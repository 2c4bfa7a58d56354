"""Requests and payments, counted in Redis for all replicas together.

Each count is one atomic script on the server's clock: it reads, decides by the core's rule, and
counts or does not. Nobody can come between, no replica's clock matters, and a counter never
exists without its end.

Keys, all in one Cluster slot a tenant, by the hash tag in braces:

    rate_limit:{<tenant>}:<quota name>/<window_s>/<window>    requests admitted in this window
    velocity:{<tenant>}:<currency>/<window_s>/<window>        payments in this window
    volume:{<tenant>}:<currency>/<day>                        minor units on this UTC day

where <window> and <day> are numbered from 1970. Must not know what a refusal means, nor what
stands in while Redis is gone.
"""

from typing import Final

from redis.exceptions import RedisError

from fluxpay.core.effects import CountRequest, CountVelocity, Unavailable
from fluxpay.core.fraud import Velocity
from fluxpay.core.limits import WindowCount
from fluxpay.stores.redis_pipeline import RedisUnavailable, Script, TurnPipeline, Word

UNAVAILABLE: Final = Unavailable("redis")
_COUNT_REQUEST: Final = Script.read("count_request.lua")
_COUNT_VELOCITY: Final = Script.read("count_velocity.lua")


class Counters:
    """Answers CountRequest and CountVelocity."""

    def __init__(self, pipeline: TurnPipeline) -> None:
        self._pipeline = pipeline

    async def count_request(self, effect: CountRequest) -> tuple[WindowCount, ...] | Unavailable:
        """Count a request against all quotas, or against none when one of them is spent."""
        keys: list[str] = []
        args: list[Word] = []
        for quota in effect.quotas:
            keys.append(f"rate_limit:{{{effect.tenant_id}}}:{quota.name}/{quota.window_s}")
            args += (quota.window_ms, quota.requests, quota.burst or quota.requests)
        try:
            flat = await self._pipeline.run(_COUNT_REQUEST, keys=keys, args=args)
        except (RedisError, RedisUnavailable):
            return UNAVAILABLE
        return tuple([WindowCount(*flat[at : at + 3]) for at in range(0, len(flat), 3)])

    async def count_velocity(self, effect: CountVelocity) -> Velocity | Unavailable:
        """Count a payment, unless that would pass the limit. What has no limit is not counted."""
        limit, money = effect.limit, effect.money
        window_s = limit.velocity_window_s or 0
        keys = (
            f"velocity:{{{effect.tenant_id}}}:{money.currency}/{window_s}",
            f"volume:{{{effect.tenant_id}}}:{money.currency}",
        )
        args = (
            window_s * 1000,
            "" if limit.velocity_count is None or not window_s else limit.velocity_count,
            money.amount_minor,
            "" if limit.daily_volume_minor is None else limit.daily_volume_minor,
        )
        try:
            count, volume_minor = await self._pipeline.run(_COUNT_VELOCITY, keys=keys, args=args)
        except (RedisError, RedisUnavailable):
            return UNAVAILABLE
        # Added here and not in the script: the sum may lie beyond what a Lua number holds exactly.
        return Velocity(count=count + 1, volume_minor=volume_minor + money.amount_minor)
