"""The Redis side against a cluster, of one node, with all its slots."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from fluxpay.core.effects import CountRequest, CountVelocity
from fluxpay.core.fraud import PaymentLimit, Velocity
from fluxpay.core.idempotency import Claim, StoredReply
from fluxpay.core.limits import Quota, WindowCount
from fluxpay.core.money import Money
from fluxpay.embedded import places, process
from fluxpay.embedded.process import Launch
from fluxpay.stores.counters import Counters
from fluxpay.stores.redis_pipeline import RedisUnavailable, TurnPipeline, connect
from fluxpay.stores.replies import ReplyCache
from tests.core.examples import TENANT_ID
from tests.ports import free_port

AGE_S = 10**9
STOP = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))


def serves(port: int) -> bool:
    with closing(redis.Redis(port=port)) as client:
        try:
            return bool(client.cluster("INFO")["cluster_state"] == "ok")
        except redis.ConnectionError:
            return False


def assign_slots(port: int) -> bool:
    with closing(redis.Redis(port=port)) as client:
        try:
            client.cluster("ADDSLOTSRANGE", 0, 16383)
        except redis.ConnectionError:
            return False
        return True


@pytest.fixture(scope="module")
def cluster_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    directory = places.private_folder(Path(tmp_path_factory.mktemp("cluster")) / "node")
    port, bus_port = free_port(), free_port()
    command = [str(places.valkey_program()), "--bind", "127.0.0.1", "--port", str(port)]
    command += ["--cluster-enabled", "yes", "--cluster-port", str(bus_port), "--save", ""]
    launch = Launch(
        command=command, directory=directory, log=directory / "log", death_signal="KILL"
    )
    server = process.start(launch)
    try:
        process.await_ready(server, launch, lambda: assign_slots(port))
        process.await_ready(server, launch, lambda: serves(port))
        yield port
    finally:
        process.stop(server, STOP)


@pytest.fixture
async def pipeline(cluster_port: int) -> AsyncIterator[TurnPipeline]:
    with closing(redis.Redis(port=cluster_port)) as client:
        client.flushall()
        client.script_flush()
    url = f"redis+cluster://127.0.0.1:{cluster_port}"
    pipeline = TurnPipeline(connect(url, timeout_ms=10_000))
    yield pipeline
    await pipeline.close()


async def test_many_tenants_are_counted_together_in_one_turn(pipeline: TurnPipeline) -> None:
    counters = Counters(pipeline)
    quotas = tuple(Quota(name=name, requests=5, window_s=AGE_S) for name in ("a", "b"))
    effects = [CountRequest(f"ten_{n % 20}", quotas) for n in range(200)]
    counted = await asyncio.gather(*(counters.count_request(effect) for effect in effects))
    seen = sorted(one.current for pair in counted if isinstance(pair, tuple) for one in pair)
    # Twenty tenants with two quotas each: five admitted, and five that found them spent.
    assert sorted([*range(5), *[5] * 5] * 40) == seen
    assert not pipeline.degraded


async def test_velocity_replies_and_pings_work_on_a_cluster(pipeline: TurnPipeline) -> None:
    limit = PaymentLimit("EUR", 1000, 1000, velocity_count=5, velocity_window_s=AGE_S)
    effect = CountVelocity(TENANT_ID, Money(10, "EUR"), limit)
    assert Velocity(1, 10) == await Counters(pipeline).count_velocity(effect)
    assert Velocity(2, 20) == await Counters(pipeline).count_velocity(effect)
    replies = ReplyCache(pipeline, ttl_s=60, generation=lambda: "7301:1")
    claim, reply = Claim(TENANT_ID, "key", "f" * 64), StoredReply("f" * 64, 201, b"{}")
    replies.remember(claim, reply)
    assert reply == await replies.read(claim)
    assert await pipeline.ping()


async def test_the_error_of_one_command_does_not_touch_its_neighbours(
    pipeline: TurnPipeline,
) -> None:
    await pipeline.execute("SET", "word", "not a number")
    outcomes = await asyncio.gather(
        pipeline.execute("INCR", "n"),
        pipeline.execute("INCR", "word"),
        pipeline.execute("INCR", "m"),
        return_exceptions=True,
    )
    assert [1, redis.ResponseError, 1] == [outcomes[0], type(outcomes[1]), outcomes[2]]
    assert not pipeline.degraded


async def test_a_quota_is_counted_on_the_node_of_its_tenant(
    pipeline: TurnPipeline, cluster_port: int
) -> None:
    quota = Quota(name="a{b}c", requests=5, window_s=AGE_S)
    counted = await Counters(pipeline).count_request(CountRequest(TENANT_ID, (quota,)))
    assert isinstance(counted, tuple)
    assert WindowCount(0, 0, counted[0].elapsed_ms) == counted[0]
    with closing(redis.Redis(port=cluster_port)) as client:
        (key,) = client.keys()
        slot = client.cluster("KEYSLOT", key)
        assert slot == client.cluster("KEYSLOT", TENANT_ID)


async def test_after_a_failure_the_cluster_is_asked_anew_who_holds_which_slots(
    pipeline: TurnPipeline, cluster_port: int
) -> None:
    assert await pipeline.ping()
    waiting = asyncio.create_task(pipeline.execute("BLPOP", "gate", 0))
    async with asyncio.timeout(20):
        with closing(redis.Redis(port=cluster_port)) as client:
            while not client.info("clients")["blocked_clients"]:
                await asyncio.sleep(0.001)
            client.config_resetstat()
            client.client_kill_filter(_type="normal", skipme=True)
            with pytest.raises(RedisUnavailable):
                await waiting
            assert pipeline.degraded
            while not await pipeline.ping():
                await asyncio.sleep(0.05)
            assert client.info("commandstats")["cmdstat_cluster|slots"]["calls"] > 0
    assert 1 == await pipeline.execute("INCR", "n")
