"""Redis commands of one turn of the loop, sent together to a real server."""

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from fluxpay.stores import redis_pipeline
from fluxpay.stores.redis_pipeline import (
    IN_FLIGHT_MAX,
    RedisUnavailable,
    Script,
    TurnPipeline,
    connect,
)

COUNT_REQUEST = Script.read("count_request.lua")
# What it answers when it is given no quota.
COUNTED: list[int] = []
TIMEOUT_MS = 10_000


@pytest.fixture
async def pipeline(redis_url: str) -> AsyncIterator[TurnPipeline]:
    pipeline = TurnPipeline(connect(redis_url, timeout_ms=TIMEOUT_MS))
    # Its first connection is open, so that what a test counts is commands alone.
    assert await pipeline.ping()
    yield pipeline
    await pipeline.close()


@pytest.fixture
async def server(redis_url: str) -> AsyncIterator[Redis]:
    """A second client, with which a test looks at the server."""
    async with Redis.from_url(redis_url) as server:
        yield server


async def reads(server: Redis) -> int:
    """How often the server took something from a socket so far, this question included."""
    return int((await server.info("stats"))["total_reads_processed"])


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def hold(pipeline: TurnPipeline, server: Redis) -> list[asyncio.Task[object]]:
    """Keep as many pipelines in flight as may be: each waits for something in the list `gate`."""
    held = []
    for _ in range(IN_FLIGHT_MAX):
        held.append(asyncio.create_task(pipeline.execute("BLPOP", "gate", 0)))
        await turns(3)
    async with asyncio.timeout(TIMEOUT_MS / 1000):
        while int((await server.info("clients"))["blocked_clients"]) < IN_FLIGHT_MAX:
            await asyncio.sleep(0.001)
    return held


async def release(server: Redis, held: list[asyncio.Task[object]]) -> None:
    await server.rpush("gate", *range(IN_FLIGHT_MAX))
    await asyncio.gather(*held)


async def test_each_command_gets_its_own_reply(pipeline: TurnPipeline) -> None:
    replies = await asyncio.gather(*(pipeline.execute("INCR", "n") for _ in range(1000)))
    assert list(range(1, 1001)) == replies


async def test_the_commands_of_one_turn_travel_together(
    pipeline: TurnPipeline, server: Redis
) -> None:
    before = await reads(server)
    await asyncio.gather(*(pipeline.execute("INCR", "n") for _ in range(100)))
    # One for all the commands, one for the question.
    assert 2 == await reads(server) - before


async def test_commands_gather_while_enough_pipelines_are_in_flight(
    pipeline: TurnPipeline, server: Redis
) -> None:
    held = await hold(pipeline, server)
    before = await reads(server)
    later = []
    for _ in range(50):
        later.append(asyncio.create_task(pipeline.execute("INCR", "n")))
        await turns(2)
    assert 1 == await reads(server) - before
    await release(server, held)
    assert list(range(1, 51)) == await asyncio.gather(*later)
    # All fifty in one, the push, the question before and the question after.
    assert 4 == await reads(server) - before


async def test_more_than_one_pipeline_may_be_in_flight(
    pipeline: TurnPipeline, server: Redis
) -> None:
    blocked = asyncio.create_task(pipeline.execute("BLPOP", "gate", 0))
    await turns(3)
    assert 1 == await pipeline.execute("INCR", "n")
    await server.rpush("gate", "go")
    assert [b"gate", b"go"] == await blocked


async def test_the_error_of_one_command_does_not_touch_its_neighbours(
    pipeline: TurnPipeline,
) -> None:
    await pipeline.execute("SET", "word", "not a number")
    outcomes = await asyncio.gather(
        pipeline.execute("INCR", "n"),
        pipeline.execute("INCR", "word"),
        pipeline.execute("INCR", "n"),
        return_exceptions=True,
    )
    assert [1, ResponseError, 2] == [outcomes[0], type(outcomes[1]), outcomes[2]]
    assert not pipeline.degraded


@pytest.mark.parametrize(
    ("word", "expected"),
    [(None, TypeError), (1.5, TypeError), (True, TypeError), ("\ud800", UnicodeEncodeError)],
)
async def test_what_cannot_be_sent_is_refused_to_its_caller_alone(
    pipeline: TurnPipeline, word: str, expected: type[Exception]
) -> None:
    outcomes = await asyncio.gather(
        pipeline.execute("INCR", "n"),
        pipeline.execute("SET", "key", word),
        return_exceptions=True,
    )
    assert [1, expected] == [outcomes[0], type(outcomes[1])]


async def test_a_forgotten_script_runs_all_the_same_and_leaves_its_neighbours_alone(
    pipeline: TurnPipeline, server: Redis
) -> None:
    for expected in (1, 2):
        await server.script_flush()
        counted, number = await asyncio.gather(
            pipeline.run(COUNT_REQUEST, keys=[], args=[]), pipeline.execute("INCR", "n")
        )
        assert (COUNTED, expected) == (counted, number)


async def test_a_script_travels_by_its_digest_once_the_server_knows_it(
    pipeline: TurnPipeline, server: Redis
) -> None:
    await pipeline.run(COUNT_REQUEST, keys=[], args=[])
    await server.config_resetstat()
    await asyncio.gather(*(pipeline.run(COUNT_REQUEST, keys=[], args=[]) for _ in range(20)))
    stats = await server.info("commandstats")
    assert 20 == stats["cmdstat_evalsha"]["calls"]
    assert "cmdstat_eval" not in stats


async def test_a_thousand_cancelled_clients_do_not_break_the_others(
    pipeline: TurnPipeline,
) -> None:
    # A counter each: pipelines go by two connections, and either may come first.
    counters = {f"n:{number}": number for number in range(1, 2001)}
    tasks = [asyncio.create_task(pipeline.execute("INCRBY", *one)) for one in counters.items()]
    # Sent, in part: more than fit into the pipelines that are in flight.
    await turns(4)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert 1000 == sum(task.cancelled() for task in tasks)
    # Each of the others has the reply to its very own command.
    assert list(range(2, 2001, 2)) == [task.result() for task in tasks[1::2]]
    assert 2000 == await pipeline.execute("EXISTS", *counters)


async def test_a_full_queue_refuses_and_does_not_grow(
    pipeline: TurnPipeline, server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_pipeline, "_QUEUE_MAX", 100)
    held = await hold(pipeline, server)
    for _ in range(150):
        pipeline.send("INCR", "n")
    with pytest.raises(RedisUnavailable):
        await pipeline.execute("INCR", "n")
    assert 50 == pipeline.lost
    await release(server, held)
    assert 101 == await pipeline.execute("INCR", "n")


async def test_what_is_sent_for_nobody_raises_nowhere_and_is_counted_when_it_fails(
    pipeline: TurnPipeline,
) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    pipeline.send("SET", "word", "not a number")
    pipeline.send("INCR", "word")
    assert b"not a number" == await pipeline.execute("GET", "word")
    gc.collect()
    assert [] == complaints
    assert 1 == pipeline.lost


async def test_closing_sends_what_is_queued_and_refuses_what_comes_later(
    redis_url: str, server: Redis
) -> None:
    pipeline = TurnPipeline(connect(redis_url, timeout_ms=TIMEOUT_MS))
    for _ in range(3000):
        pipeline.send("INCR", "n")
    await pipeline.close()
    assert b"3000" == await server.get("n")
    with pytest.raises(RedisUnavailable):
        await pipeline.execute("INCR", "n")


async def test_closing_leaves_no_connection_behind(redis_url: str, server: Redis) -> None:
    pipeline = TurnPipeline(connect(redis_url, timeout_ms=TIMEOUT_MS))
    await asyncio.gather(*(pipeline.execute("INCR", "n") for _ in range(3000)))
    await pipeline.close()
    async with asyncio.timeout(TIMEOUT_MS / 1000):
        while len(await server.client_list()) > 1:
            await asyncio.sleep(0.001)


async def test_a_ping_is_answered_even_by_a_server_that_shows_us_no_such_key(
    redis_url: str, server: Redis
) -> None:
    await server.acl_setuser("narrow", enabled=True, nopass=True, commands=["+get"], keys=["own:*"])
    try:
        separator = "&" if "?" in redis_url else "?"
        url = f"{redis_url}{separator}username=narrow&password=any"
        pipeline = TurnPipeline(connect(url, timeout_ms=TIMEOUT_MS))
        assert await pipeline.ping()
        with pytest.raises(ResponseError):
            await pipeline.execute("GET", "other")
        await pipeline.close()
    finally:
        await server.acl_deluser("narrow")


async def test_each_command_travels_alone_where_coalescing_is_switched_off(
    redis_url: str, server: Redis
) -> None:
    client = connect(redis_url, timeout_ms=TIMEOUT_MS)
    pipeline = TurnPipeline(client, commands_max=1, in_flight_max=16)
    assert await pipeline.ping()
    before = await reads(server)
    assert list(range(1, 51)) == sorted(
        await asyncio.gather(*(pipeline.execute("INCR", "n") for _ in range(50)))
    )
    assert 51 == await reads(server) - before
    await pipeline.close()
