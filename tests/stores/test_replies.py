"""Replies kept in a real Redis."""

import hashlib
from collections.abc import AsyncIterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from fluxpay.core.effects import Unavailable
from fluxpay.core.idempotency import Claim, StoredReply
from fluxpay.embedded.valkey import EmbeddedValkey
from fluxpay.stores.redis_pipeline import TurnPipeline, connect
from fluxpay.stores.replies import ReplyCache
from tests.core.examples import TENANT_ID

CLAIM = Claim(TENANT_ID, "order 7: {1}", "f" * 64)
REPLY = StoredReply("f" * 64, 201, b'{"id":"pay_1"}\x00\xff', location="/v1/payments/pay_1")
KEY = f"reply:{{{TENANT_ID}}}:7301:1:{hashlib.sha256(b'order 7: {1}').hexdigest()}"


class Cache:
    """A cache whose generation the test can change."""

    def __init__(self, pipeline: TurnPipeline) -> None:
        self.generation = "7301:1"
        self.pipeline = pipeline
        self.replies = ReplyCache(pipeline, ttl_s=3600, generation=lambda: self.generation)


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[Cache]:
    pipeline = TurnPipeline(connect(redis_url, timeout_ms=10_000))
    yield Cache(pipeline)
    await pipeline.close()


@pytest.fixture
async def server(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as server:
        yield server


@pytest.mark.parametrize("reply", [REPLY, StoredReply("a" * 64, 200, b"")])
async def test_a_reply_comes_back_byte_for_byte(cache: Cache, reply: StoredReply) -> None:
    assert await cache.replies.read(CLAIM) is None
    cache.replies.remember(CLAIM, reply)
    assert reply == await cache.replies.read(CLAIM)


async def test_a_reply_is_kept_under_its_key_for_its_time(cache: Cache, server: Redis) -> None:
    cache.replies.remember(CLAIM, REPLY)
    await cache.replies.read(CLAIM)
    assert [KEY.encode()] == await server.keys()
    assert 3590 < await server.ttl(KEY) <= 3600


async def test_the_keys_are_apart_by_tenant_and_key_and_not_by_fingerprint(cache: Cache) -> None:
    cache.replies.remember(CLAIM, REPLY)
    assert await cache.replies.read(Claim("ten_other", CLAIM.key, CLAIM.fingerprint)) is None
    assert await cache.replies.read(Claim(TENANT_ID, "order 8", CLAIM.fingerprint)) is None
    # Whether it fits is the core's to say, and it can only say so if it sees the reply.
    assert REPLY == await cache.replies.read(Claim(TENANT_ID, CLAIM.key, "0" * 64))


async def test_another_timeline_of_the_database_hides_the_replies_of_the_old(cache: Cache) -> None:
    cache.replies.remember(CLAIM, REPLY)
    assert REPLY == await cache.replies.read(CLAIM)
    cache.generation = "7301:2"
    assert await cache.replies.read(CLAIM) is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"rubbish",
        msgspec.msgpack.encode(None),
        msgspec.msgpack.encode([]),
        msgspec.msgpack.encode([2, "f" * 64, 201, b"{}", None]),
        msgspec.msgpack.encode([1, "f" * 64, "201", b"{}", None]),
        msgspec.msgpack.encode([1, "f" * 64, 201, b"{}"]),
        msgspec.msgpack.encode([1, "f" * 64, 201, b"{}", None, "more"]),
        msgspec.msgpack.encode([1, "f" * 64, 201, b"{}", None]) + b"\x00",
    ],
)
async def test_what_cannot_be_read_is_a_miss(cache: Cache, server: Redis, value: bytes) -> None:
    await server.set(KEY, value)
    assert await cache.replies.read(CLAIM) is None


@given(value=st.binary(max_size=64))
@settings(max_examples=200)
async def test_no_value_whatever_raises(valkey: EmbeddedValkey, value: bytes) -> None:
    pipeline = TurnPipeline(connect(valkey.url, timeout_ms=10_000))
    cache = Cache(pipeline)
    await pipeline.execute("SET", KEY, value)
    read = await cache.replies.read(CLAIM)
    assert read is None or isinstance(read, StoredReply)
    await pipeline.execute("DEL", KEY)
    await pipeline.close()


async def test_a_value_of_another_kind_is_unavailable(cache: Cache, server: Redis) -> None:
    await server.lpush(KEY, "rubbish")
    assert Unavailable("redis") == await cache.replies.read(CLAIM)


async def test_a_reply_that_redis_does_not_take_disturbs_nobody(
    cache: Cache, server: Redis
) -> None:
    await server.config_set("maxmemory", 1)
    try:
        cache.replies.remember(CLAIM, REPLY)
        assert await cache.replies.read(CLAIM) is None
        assert 1 == cache.pipeline.lost
    finally:
        await server.config_set("maxmemory", 0)
