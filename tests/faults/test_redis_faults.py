"""A Redis that is black-holed, cut off, stopped, or no longer the primary."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis.asyncio import Redis

from fluxpay.core.effects import CountRequest, CountVelocity, Unavailable
from fluxpay.core.fraud import PaymentLimit
from fluxpay.core.idempotency import Claim, StoredReply
from fluxpay.core.limits import Quota
from fluxpay.core.money import Money
from fluxpay.embedded.valkey import EmbeddedValkey
from fluxpay.stores.counters import Counters
from fluxpay.stores.redis_pipeline import RedisUnavailable, TurnPipeline, connect
from fluxpay.stores.replies import ReplyCache
from tests.faults.proxy import FaultProxy

TIMEOUT_MS = 250
# Longer than the pause after which Redis is asked again.
PAUSE_IS_OVER_S = 1.1
# Only so that a test that hangs says where; nothing takes nearly as long.
PATIENCE_S = 20.0
QUOTA = Quota(name="default", requests=50, window_s=10**9)
REQUEST = CountRequest("ten_a", (QUOTA,))


@dataclass(frozen=True, slots=True)
class Line:
    """A pipeline, what it told, and the proxy between it and the server."""

    pipeline: TurnPipeline
    proxy: FaultProxy
    told: list[bool]


@pytest.fixture
async def line(redis_url: str, valkey: EmbeddedValkey) -> AsyncIterator[Line]:
    """An open connection through a proxy that does no harm yet."""
    assert redis_url
    told: list[bool] = []
    async with FaultProxy(valkey.socket_path) as proxy:
        client = connect(f"redis://{proxy.host}:{proxy.port}", timeout_ms=TIMEOUT_MS)
        pipeline = TurnPipeline(client, on_change=told.append)
        await until(pipeline.ping)
        told.clear()
        yield Line(pipeline, proxy, told)
        await pipeline.close()


async def until(happens: Callable[[], Awaitable[bool]]) -> None:
    """Ask again until it happens; a busy machine may time out where no fault was planted."""
    async with asyncio.timeout(PATIENCE_S):
        while not await happens():
            await asyncio.sleep(0.05)


async def outcomes(pipeline: TurnPipeline, count: int) -> list[type]:
    """What becomes of that many commands, given in one turn; none may wait without a limit."""
    async with asyncio.timeout(PATIENCE_S):
        commands = (pipeline.execute("INCR", "n") for _ in range(count))
        results = await asyncio.gather(*commands, return_exceptions=True)
    return [type(result) for result in results]


async def is_given_up(pipeline: TurnPipeline) -> bool:
    return pipeline.degraded


async def value(url: str, key: str) -> int:
    async with Redis.from_url(url) as server:
        return int(await server.get(key) or 0)


async def test_a_black_hole_costs_one_wait_and_not_one_a_request(line: Line) -> None:
    line.proxy.blackhole()
    assert [RedisUnavailable] * 100 == await outcomes(line.pipeline, 100)
    assert line.pipeline.degraded
    accepted = line.proxy.accepted
    # Given up: nobody tries, neither on an old connection nor on a new one.
    assert [RedisUnavailable] * 500 == await outcomes(line.pipeline, 500)
    assert accepted == line.proxy.accepted


async def test_after_the_pause_a_single_command_tries_again(line: Line) -> None:
    line.proxy.blackhole()
    await outcomes(line.pipeline, 10)
    for _ in range(2):
        accepted = line.proxy.accepted
        await asyncio.sleep(PAUSE_IS_OVER_S)
        commands = [asyncio.create_task(outcomes(line.pipeline, 1)) for _ in range(500)]
        for _ in range(5):
            await asyncio.sleep(0)
        # All but the probe are refused on the spot.
        assert 1 == sum(not command.done() for command in commands)
        assert [[RedisUnavailable]] * 500 == await asyncio.gather(*commands)
        assert 1 == line.proxy.accepted - accepted
    assert [True] == line.told


async def test_what_queues_behind_a_black_hole_waits_no_longer_than_the_first(
    line: Line,
) -> None:
    line.proxy.blackhole()
    first = []
    # As many as may be in flight, and a queue that would take several rounds more.
    for _ in range(10):
        first.append(asyncio.create_task(outcomes(line.pipeline, 600)))
        for _ in range(3):
            await asyncio.sleep(0)
    attempts = line.proxy.accepted
    assert [[RedisUnavailable] * 600] * 10 == await asyncio.gather(*first)
    # Those in flight dialled at most; the queue behind them never set out.
    assert line.proxy.accepted - attempts <= 4
    assert not line.pipeline._queue


async def test_counters_and_replies_say_that_redis_is_unavailable(line: Line) -> None:
    line.proxy.blackhole()
    counters = Counters(line.pipeline)
    replies = ReplyCache(line.pipeline, ttl_s=60, generation=lambda: "1:1")
    claim = Claim("ten_a", "key", "f" * 64)
    limit = PaymentLimit("EUR", 100, velocity_count=1, velocity_window_s=60)
    async with asyncio.timeout(PATIENCE_S):
        answers = [
            await counters.count_request(REQUEST),
            await counters.count_velocity(CountVelocity("ten_a", Money(1, "EUR"), limit)),
            await replies.read(claim),
        ]
    assert [Unavailable("redis")] * 3 == answers
    replies.remember(claim, StoredReply("f" * 64, 201, b"{}"))
    assert 1 == line.pipeline.lost
    assert not await line.pipeline.ping()


async def test_it_recovers_by_itself_when_the_black_hole_ends(line: Line) -> None:
    line.proxy.blackhole()
    await outcomes(line.pipeline, 1)
    await line.proxy.heal()
    await until(line.pipeline.ping)
    assert not line.pipeline.degraded
    assert [int] * 100 == await outcomes(line.pipeline, 100)
    assert [True, False] == line.told


async def test_it_recovers_by_itself_when_connections_are_refused_for_a_while(
    line: Line,
) -> None:
    await line.proxy.refuse()
    assert [RedisUnavailable] * 10 == await outcomes(line.pipeline, 10)
    await line.proxy.heal()
    await until(line.pipeline.ping)
    assert [int] * 10 == await outcomes(line.pipeline, 10)


async def test_a_lost_reply_is_not_asked_for_again(line: Line, redis_url: str) -> None:
    line.proxy.cut_after_reply_bytes(0)
    assert [RedisUnavailable] * 10 == await outcomes(line.pipeline, 10)
    assert 10 == await value(redis_url, "n")


async def test_a_cut_in_the_midst_of_the_replies_leaves_nobody_waiting(
    line: Line, redis_url: str
) -> None:
    line.proxy.cut_after_reply_bytes(50)
    assert [RedisUnavailable] * 100 == await outcomes(line.pipeline, 100)
    await until(line.pipeline.ping)
    # What comes over the new connection belongs to what is asked there.
    assert 100 == await value(redis_url, "n")
    assert 101 == await line.pipeline.execute("INCR", "n")


async def test_an_idle_connection_that_was_cut_is_replaced_without_a_failure(line: Line) -> None:
    line.proxy.cut()
    # The reset has to arrive; it is noticed before anything is sent.
    await asyncio.sleep(0.05)
    assert [int] * 10 == await outcomes(line.pipeline, 10)
    assert [] == line.told


async def test_replies_that_trickle_in_do_not_prolong_the_wait(line: Line) -> None:
    """Each piece comes in time for itself: only a limit for the whole round trip ends this."""
    line.proxy.delay_s = TIMEOUT_MS / 1000 * 0.4
    slow = [line.pipeline.execute("ECHO", b"x" * 500_000) for _ in range(8)]
    async with asyncio.timeout(PATIENCE_S):
        results = await asyncio.gather(*slow, return_exceptions=True)
    assert [RedisUnavailable] * 8 == [type(result) for result in results]


async def test_a_loop_that_stood_still_does_not_give_redis_up(line: Line) -> None:
    command = asyncio.create_task(line.pipeline.execute("INCR", "n"))
    while not line.pipeline._flights:
        await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(time.sleep, 2 * TIMEOUT_MS / 1000)
    assert 1 == await command
    assert [] == line.told


async def test_clients_that_leave_a_black_hole_do_not_keep_the_probe(line: Line) -> None:
    line.proxy.blackhole()
    await outcomes(line.pipeline, 1)
    await asyncio.sleep(PAUSE_IS_OVER_S)
    probe = asyncio.create_task(line.pipeline.execute("INCR", "n"))
    await asyncio.sleep(0)
    probe.cancel()
    await line.proxy.heal()
    await until(line.pipeline.ping)
    assert not line.pipeline.degraded


async def test_a_thousand_clients_cancelled_in_a_black_hole_leave_a_pipeline_that_works(
    line: Line,
) -> None:
    line.proxy.blackhole()
    tasks = [asyncio.create_task(line.pipeline.execute("INCR", "n")) for _ in range(1000)]
    for _ in range(5):
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [True] * 1000 == [task.cancelled() for task in tasks]
    # What they asked for is still under way, and fails without them.
    await until(lambda: is_given_up(line.pipeline))
    await line.proxy.heal()
    await until(line.pipeline.ping)
    assert [int] * 10 == await outcomes(line.pipeline, 10)


async def test_closing_does_not_wait_for_a_black_hole(line: Line) -> None:
    line.proxy.blackhole()
    line.pipeline.send("INCR", "n")
    async with asyncio.timeout(PATIENCE_S):
        await line.pipeline.close()
    assert 1 == line.pipeline.lost


async def test_a_server_that_stops_and_starts_is_used_again(tmp_path: Path) -> None:
    server = EmbeddedValkey.start(tmp_path)
    pipeline = TurnPipeline(connect(server.url, timeout_ms=TIMEOUT_MS))
    try:
        await until(pipeline.ping)
        counters = Counters(pipeline)
        assert not isinstance(await counters.count_request(REQUEST), Unavailable)
        server.stop()
        assert Unavailable("redis") == await counters.count_request(REQUEST)
        server = EmbeddedValkey.start(tmp_path)
        await until(pipeline.ping)
        counted = await counters.count_request(REQUEST)
        assert not isinstance(counted, Unavailable)
        # It was shut down in order, so nothing was forgotten.
        assert [1] == [one.current for one in counted]
    finally:
        await pipeline.close()
        server.stop()


async def test_a_primary_that_became_a_replica_is_given_up_with_its_connection(
    tmp_path: Path,
) -> None:
    server = EmbeddedValkey.start(tmp_path)
    pipeline = TurnPipeline(connect(server.url, timeout_ms=TIMEOUT_MS))
    try:
        await until(pipeline.ping)
        before = await pipeline.execute("CLIENT", "ID")
        async with Redis.from_url(server.url) as admin:
            await admin.replicaof("127.0.0.1", 1)
            assert [RedisUnavailable] * 3 == await outcomes(pipeline, 3)
            assert pipeline.degraded
            await admin.replicaof("NO", "ONE")
        await until(pipeline.ping)
        assert [int] * 3 == await outcomes(pipeline, 3)
        # Behind the same name another server may be the primary now: only a new connection gets
        # there.
        assert before != await pipeline.execute("CLIENT", "ID")
    finally:
        await pipeline.close()
        server.stop()
