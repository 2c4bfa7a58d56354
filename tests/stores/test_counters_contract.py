"""One rule in three places: the core, the Redis scripts, and this process's memory.

Redis alone knows its time, and tells it: the first quota of every request has a window so long
that what has passed of it gives the instant of the count, to which the others' clock is then set.
"""

import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from fluxpay.core.effects import CountRequest, CountVelocity, Unavailable
from fluxpay.core.fraud import PaymentLimit, Velocity
from fluxpay.core.limits import Quota, WindowCount, admits
from fluxpay.core.money import AMOUNT_MINOR_MAX, Money
from fluxpay.embedded.valkey import EmbeddedValkey
from fluxpay.stores.counters import Counters
from fluxpay.stores.local_counters import LocalCounters
from fluxpay.stores.redis_pipeline import TurnPipeline, connect

AGE_S = 10**9  # Its second window lasts from 2001 to 2033.
AGE_MS = AGE_S * 1000
DAY_MS = 86_400_000

counts = st.integers(min_value=0, max_value=8)
quotas = st.builds(
    Quota,
    name=st.sampled_from(["a", "b"]),
    requests=counts,
    window_s=st.sampled_from([AGE_S, 3600, 86_400]),
    burst=st.none() | st.integers(min_value=1, max_value=20),
)
clocks = st.builds(
    Quota,
    name=st.just("clock"),
    requests=counts,
    window_s=st.just(AGE_S),
    burst=st.none() | st.integers(min_value=1, max_value=20),
)
requests = st.lists(
    st.tuples(
        clocks,
        st.lists(quotas, max_size=2, unique_by=lambda quota: (quota.name, quota.window_s)),
    ).map(lambda pair: (pair[0], *pair[1])),
    min_size=1,
    max_size=25,
)
amounts = st.integers(min_value=1, max_value=AMOUNT_MINOR_MAX)
limits = st.builds(
    PaymentLimit,
    currency=st.just("EUR"),
    max_amount_minor=st.just(AMOUNT_MINOR_MAX),
    daily_volume_minor=st.none() | st.integers(min_value=0, max_value=AMOUNT_MINOR_MAX),
    velocity_count=st.none() | counts,
    velocity_window_s=st.just(AGE_S),
)
payments = st.lists(
    st.tuples(amounts | st.integers(min_value=1, max_value=100), limits), min_size=1, max_size=25
)


class Model:
    """The core's rules over one dictionary."""

    def __init__(self) -> None:
        self._counted: dict[tuple[str, int, int], int] = defaultdict(int)

    def count_request(self, quotas: Sequence[Quota], now_ms: int) -> tuple[WindowCount, ...]:
        keys = [(quota.name, quota.window_ms, now_ms // quota.window_ms) for quota in quotas]
        counts = tuple(
            WindowCount(
                previous=self._counted[name, window_ms, index - 1],
                current=self._counted[name, window_ms, index],
                elapsed_ms=now_ms % window_ms,
            )
            for name, window_ms, index in keys
        )
        if all(admits(*pair) for pair in zip(quotas, counts, strict=True)):
            for key in keys:
                self._counted[key] += 1
        return counts

    def count_velocity(self, amount_minor: int, limit: PaymentLimit) -> Velocity:
        taken = ("payments", 0, 0), ("volume", 0, 0)
        limited = limit.velocity_count is not None, limit.daily_volume_minor is not None
        count, volume = (
            self._counted[key] if kept else 0 for key, kept in zip(taken, limited, strict=True)
        )
        velocity = Velocity(count + 1, volume + amount_minor)
        if not velocity.exceeds(limit):
            for key, kept, one in zip(taken, limited, (1, amount_minor), strict=True):
                self._counted[key] += one if kept else 0
        return velocity

    def fill(self, window: int, counted: int) -> None:
        self._counted["clock", AGE_MS, window] = counted


@asynccontextmanager
async def opened(valkey: EmbeddedValkey) -> AsyncIterator[tuple[Counters, Redis]]:
    pipeline = TurnPipeline(connect(valkey.url, timeout_ms=10_000))
    async with Redis.from_url(valkey.url) as server:
        yield Counters(pipeline), server
    await pipeline.close()


@given(before=counts, requests=requests)
@settings(max_examples=60)
async def test_requests_are_counted_alike_in_redis_in_memory_and_by_the_rule(
    valkey: EmbeddedValkey, before: int, requests: list[tuple[Quota, ...]]
) -> None:
    tenant_id, now_ms = f"ten_{uuid.uuid4().hex}", 0
    model, local = Model(), LocalCounters(lambda: now_ms)
    async with opened(valkey) as (counters, server):
        # The window before is filled: in Redis by its key, in memory by asking in its time.
        model.fill(0, before)
        if before:
            await server.set(f"rate_limit:{{{tenant_id}}}:clock/{AGE_S}/0", before)
        for _ in range(before):
            generous = Quota(name="clock", requests=before, window_s=AGE_S)
            local.count_request(CountRequest(tenant_id, (generous,)))
        for quotas in requests:
            effect = CountRequest(tenant_id, quotas)
            counted = await counters.count_request(effect)
            assert not isinstance(counted, Unavailable)
            now_ms = AGE_MS + counted[0].elapsed_ms
            assert model.count_request(quotas, now_ms) == counted
            assert local.count_request(effect) == counted


@given(payments=payments)
@settings(max_examples=60)
async def test_payments_are_counted_alike_in_redis_in_memory_and_by_the_rule(
    valkey: EmbeddedValkey, payments: list[tuple[int, PaymentLimit]]
) -> None:
    tenant_id = f"ten_{uuid.uuid4().hex}"
    model, local = Model(), LocalCounters(lambda: AGE_MS)
    async with opened(valkey) as (counters, server):
        (started_s, _) = await server.time()
        answers = []
        for amount_minor, limit in payments:
            effect = CountVelocity(tenant_id, Money(amount_minor, "EUR"), limit)
            answers.append((effect, await counters.count_velocity(effect)))
        (ended_s, _) = await server.time()
    # Midnight belongs to two days, and would be told as a difference.
    assume(started_s * 1000 // DAY_MS == ended_s * 1000 // DAY_MS)
    for effect, counted in answers:
        assert model.count_velocity(effect.money.amount_minor, effect.limit) == counted
        assert local.count_velocity(effect) == counted
