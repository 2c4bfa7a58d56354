"""Requests and payments counted in a real Redis, by many at once."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from fluxpay.core.effects import CountRequest, CountVelocity, Unavailable
from fluxpay.core.fraud import PaymentLimit, Velocity
from fluxpay.core.limits import Admitted, Quota, WindowCount, decide
from fluxpay.core.money import AMOUNT_MINOR_MAX, Money
from fluxpay.stores.counters import Counters
from fluxpay.stores.redis_pipeline import TurnPipeline, connect
from tests.core.examples import TENANT_ID

# The second window of this length lasts from 2001 to 2033: no test runs into its end.
AGE_S = 10**9
DAY_MS = 86_400_000
LARGE = Quota(name="default", requests=50, window_s=AGE_S)
SPENT = Quota(name="spent", requests=0, window_s=AGE_S)


@pytest.fixture
async def replicas(redis_url: str) -> AsyncIterator[list[Counters]]:
    """Four, each with connections of its own."""
    pipelines = [TurnPipeline(connect(redis_url, timeout_ms=10_000)) for _ in range(4)]
    yield [Counters(pipeline) for pipeline in pipelines]
    for pipeline in pipelines:
        await pipeline.close()


@pytest.fixture
def counters(replicas: list[Counters]) -> Counters:
    return replicas[0]


@pytest.fixture
async def server(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, decode_responses=True) as server:
        yield server


def limit(
    *, count: int | None = None, window_s: int | None = None, volume_minor: int | None = None
) -> PaymentLimit:
    return PaymentLimit(
        currency="EUR",
        max_amount_minor=AMOUNT_MINOR_MAX,
        daily_volume_minor=volume_minor,
        velocity_count=count,
        velocity_window_s=window_s,
    )


def payment(amount_minor: int, of: PaymentLimit) -> CountVelocity:
    return CountVelocity(TENANT_ID, Money(amount_minor, "EUR"), of)


async def keys_of(server: Redis) -> list[str]:
    return sorted(str(key) for key in await server.keys())


async def count(
    counters: Counters, *quotas: Quota, tenant_id: str = TENANT_ID
) -> tuple[WindowCount, ...]:
    counts = await counters.count_request(CountRequest(tenant_id, quotas))
    assert not isinstance(counts, Unavailable)
    return counts


async def test_two_hundred_at_once_find_room_for_exactly_fifty(replicas: list[Counters]) -> None:
    counts = await asyncio.gather(*(count(replicas[n % 4], LARGE) for n in range(200)))
    decisions = [decide((LARGE,), one) for one in counts]
    assert 50 == sum(isinstance(decision, Admitted) for decision in decisions)
    # Each of them saw another count: nobody came between reading and counting.
    assert [*range(50), *[50] * 150] == sorted(one.current for (one,) in counts)


async def test_two_hundred_payments_at_once_find_room_for_exactly_fifty(
    replicas: list[Counters],
) -> None:
    fifty = limit(count=50, window_s=AGE_S, volume_minor=AMOUNT_MINOR_MAX)
    answers = await asyncio.gather(
        *(replicas[n % 4].count_velocity(payment(3, fifty)) for n in range(200))
    )
    velocities = [one for one in answers if isinstance(one, Velocity)]
    taken = [one for one in velocities if not one.exceeds(fifty)]
    assert list(range(1, 51)) == sorted(one.count for one in taken)
    assert list(range(3, 153, 3)) == sorted(one.volume_minor for one in taken)
    assert [(51, 153)] * 150 == [
        (one.count, one.volume_minor) for one in velocities if one.exceeds(fifty)
    ]


async def test_a_request_counts_against_all_quotas_or_none(counters: Counters) -> None:
    other = Quota(name="other", requests=1, window_s=AGE_S)
    assert [0, 0] == [one.current for one in await count(counters, LARGE, other)]
    assert [1, 1] == [one.current for one in await count(counters, LARGE, other)]
    assert [1, 0] == [one.current for one in await count(counters, LARGE, SPENT)]
    assert [0, 1] == [one.current for one in await count(counters, SPENT, LARGE)]
    assert [1] == [one.current for one in await count(counters, LARGE)]


async def test_a_payment_over_one_limit_counts_towards_neither(counters: Counters) -> None:
    both = limit(count=1, window_s=AGE_S, volume_minor=100)
    assert Velocity(1, 101) == await counters.count_velocity(payment(101, both))
    assert Velocity(1, 60) == await counters.count_velocity(payment(60, both))
    assert Velocity(2, 70) == await counters.count_velocity(payment(10, both))
    assert Velocity(2, 61) == await counters.count_velocity(payment(1, both))


async def test_counters_have_the_keys_that_are_documented(
    counters: Counters, server: Redis
) -> None:
    await count(counters, LARGE)
    await counters.count_velocity(payment(7, limit(count=9, window_s=AGE_S, volume_minor=99)))
    today = int((await server.time())[0]) * 1000 // DAY_MS
    expected = {
        f"rate_limit:{{{TENANT_ID}}}:default/{AGE_S}/1": "1",
        f"velocity:{{{TENANT_ID}}}:EUR/{AGE_S}/1": "1",
        f"volume:{{{TENANT_ID}}}:EUR/{today}": "7",
    }
    keys = await keys_of(server)
    assert expected == dict(zip(keys, await server.mget(keys), strict=True))


async def test_what_has_no_limit_is_not_counted(counters: Counters, server: Redis) -> None:
    assert Velocity(1, 7) == await counters.count_velocity(payment(7, limit(volume_minor=99)))
    assert Velocity(1, 14) == await counters.count_velocity(payment(7, limit(volume_minor=99)))
    only_count = limit(count=9, window_s=60)
    assert Velocity(1, 7) == await counters.count_velocity(payment(7, only_count))
    assert ["velocity", "volume"] == [key.partition(":")[0] for key in await keys_of(server)]


async def test_every_counter_ends_after_two_of_its_windows(
    counters: Counters, server: Redis
) -> None:
    minute, hour = (Quota(name="q", requests=9, window_s=one) for one in (60, 3600))
    for _ in range(3):
        await count(counters, minute, hour)
        await counters.count_velocity(payment(1, limit(count=9, window_s=60, volume_minor=99)))
    ends_ms = {"q/60": 120_000, "q/3600": 7_200_000, "EUR/60": 120_000, "EUR": 2 * DAY_MS}
    left_ms = {key: await server.pttl(key) for key in await keys_of(server)}
    # A minute may have ended meanwhile, and left two counters of one kind.
    assert len(left_ms) >= 4
    for key, left in left_ms.items():
        whole = ends_ms[key.rpartition("/")[0].rpartition(":")[2]]
        assert whole - 60_000 < left <= whole


async def test_counting_on_does_not_put_off_the_end(counters: Counters, server: Redis) -> None:
    velocity = limit(count=9, window_s=AGE_S, volume_minor=99)
    await count(counters, LARGE)
    await counters.count_velocity(payment(1, velocity))
    for key in await keys_of(server):
        await server.pexpire(key, 50_000)
    await count(counters, LARGE)
    await counters.count_velocity(payment(1, velocity))
    assert [True] * 3 == [await server.pttl(key) <= 50_000 for key in await keys_of(server)]


async def test_counting_goes_on_after_the_server_forgot_its_scripts(
    counters: Counters, server: Redis
) -> None:
    velocity = limit(count=9, window_s=AGE_S)
    for expected in range(3):
        (counted,) = await count(counters, LARGE)
        assert expected == counted.current
        assert Velocity(expected + 1, 5) == await counters.count_velocity(payment(5, velocity))
        await server.script_flush()


async def test_the_largest_amount_is_counted_to_the_last_unit(
    counters: Counters, server: Redis
) -> None:
    volume = limit(volume_minor=AMOUNT_MINOR_MAX)
    # The first amounts that Lua would write with an exponent, or round.
    amounts_minor = (10**15, AMOUNT_MINOR_MAX - 10**15 - 1, 1)
    velocities = [await counters.count_velocity(payment(one, volume)) for one in amounts_minor]
    assert Velocity(1, AMOUNT_MINOR_MAX) == velocities[-1]
    (key,) = await keys_of(server)
    assert "9007199254740991" == await server.get(key)
    # A sum that no double holds.
    assert Velocity(1, 2**53 + 1) == await counters.count_velocity(payment(2, volume))
    most = await counters.count_velocity(payment(AMOUNT_MINOR_MAX, volume))
    assert Velocity(1, 2 * AMOUNT_MINOR_MAX) == most
    assert "9007199254740991" == await server.get(key)


async def test_tenants_and_currencies_are_counted_apart(counters: Counters) -> None:
    one = limit(count=1, window_s=AGE_S)
    yen = PaymentLimit("JPY", AMOUNT_MINOR_MAX, velocity_count=1, velocity_window_s=AGE_S)
    answers = [
        await counters.count_velocity(CountVelocity("ten_a", Money(1, "EUR"), one)),
        await counters.count_velocity(CountVelocity("ten_b", Money(1, "EUR"), one)),
        await counters.count_velocity(CountVelocity("ten_a", Money(1, "JPY"), yen)),
    ]
    assert [Velocity(1, 1)] * 3 == answers
    for tenant_id in ("ten_a", "ten_b"):
        (counted,) = await count(counters, LARGE, tenant_id=tenant_id)
        assert 0 == counted.current


async def test_what_redis_cannot_count_is_unavailable_and_not_an_error(
    counters: Counters, server: Redis
) -> None:
    today = int((await server.time())[0]) * 1000 // DAY_MS
    await server.set(f"rate_limit:{{{TENANT_ID}}}:default/{AGE_S}/1", "rubbish")
    await server.lpush(f"volume:{{{TENANT_ID}}}:EUR/{today}", "rubbish")
    unavailable = Unavailable("redis")
    assert unavailable == await counters.count_request(CountRequest(TENANT_ID, (LARGE,)))
    assert unavailable == await counters.count_velocity(payment(1, limit(volume_minor=9)))
