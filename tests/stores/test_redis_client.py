"""What becomes of a Redis URL."""

import pytest
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection

from fluxpay.stores.redis_client import connect


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://127.0.0.1:6379/2", Connection),
        ("rediss://127.0.0.1:6379", SSLConnection),
        ("unix:///tmp/redis.sock", UnixDomainSocketConnection),
    ],
)
def test_the_scheme_chooses_how_to_connect(url: str, expected: type) -> None:
    redis = connect(url, timeout_ms=50).redis
    assert isinstance(redis, Redis)
    assert expected is redis.connection_pool.connection_class
    # What redis-py would need for a connection can be put together.
    redis.connection_pool.connection_class(**redis.connection_pool.connection_kwargs)


def test_a_url_decides_who_connects_to_what() -> None:
    redis = connect("redis://ada:p%40ss@10.0.0.1:7000/2", timeout_ms=50).redis
    assert isinstance(redis, Redis)
    told = redis.connection_pool.connection_kwargs
    names = ("username", "password", "host", "port", "db")
    assert ["ada", "p@ss", "10.0.0.1", 7000, 2] == [told[name] for name in names]


def test_a_url_does_not_decide_how_long_or_how_often() -> None:
    url = (
        "redis://127.0.0.1/0?socket_timeout=60&socket_connect_timeout=60&max_connections=1"
        "&retry_on_timeout=true&decode_responses=true&health_check_interval=1"
    )
    client = connect(url, timeout_ms=50)
    assert isinstance(client.redis, Redis)
    pool = client.redis.connection_pool
    connection = Connection(**pool.connection_kwargs)
    assert 0.05 == client.timeout_s
    assert 0.1 == connection.socket_connect_timeout
    assert 0 == connection.retry.get_retries()
    assert 0 == connection.health_check_interval
    assert not connection.encoder.decode_responses
    assert pool.max_connections > 4


def test_a_cluster_is_reached_through_any_of_its_hosts() -> None:
    url = "redis+cluster://:secret@10.0.0.1:7000,10.0.0.2,[::1]:7002/0?ssl=true"
    redis = connect(url, timeout_ms=50).redis
    assert isinstance(redis, RedisCluster)
    places = [(node.host, node.port) for node in redis.startup_nodes]
    assert [("10.0.0.1", 7000), ("10.0.0.2", 6379), ("::1", 7002)] == places
    assert ["secret"] * 3 == [node.connection_kwargs["password"] for node in redis.startup_nodes]
    assert [SSLConnection] * 3 == [node.connection_class for node in redis.startup_nodes]
    assert 0 == redis.retry.get_retries()


def test_a_cluster_without_tls_is_not_asked_for_it() -> None:
    redis = connect("redis+cluster://10.0.0.1:7000?ssl=false", timeout_ms=50).redis
    assert isinstance(redis, RedisCluster)
    assert Connection is redis.startup_nodes[0].connection_class
