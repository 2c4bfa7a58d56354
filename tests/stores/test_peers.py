"""Where a store is, as far as anybody may see it."""

import pytest

from fluxpay.stores.connection import SessionLimits
from fluxpay.stores.database import Database as Postgres
from fluxpay.stores.peers import Peer, postgres_at
from fluxpay.stores.redis_client import connect
from tests.conftest import Database

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://app:hunter2@db/pay", Peer("postgresql", "db", 5432, "pay")),
        ("postgresql://app@one:6000,two:6001/pay", Peer("postgresql", "one", 6000, "pay")),
        (
            "postgresql:///pay?host=/run/pg&port=5433",
            Peer("postgresql", "/run/pg/.s.PGSQL.5433", None, "pay"),
        ),
        ("nonsense", Peer("postgresql", "local/.s.PGSQL.5432", None, "")),
    ],
)
def test_a_database_url_names_a_peer(url: str, expected: Peer) -> None:
    assert expected == postgres_at(url)
    assert SECRET not in repr(expected)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://:hunter2@cache:7000/3", Peer("redis", "cache", 7000, "3")),
        ("rediss://cache", Peer("redis", "cache", 6379, "0")),
        ("unix:///run/valkey.sock?db=1", Peer("redis", "/run/valkey.sock", None, "1")),
        ("redis+cluster://one:7000,two:7001", Peer("redis", "one", 7000, "0")),
    ],
)
async def test_a_redis_url_names_a_peer(url: str, expected: Peer) -> None:
    assert expected == connect(url, timeout_ms=50).peer


async def test_the_peer_is_the_server_that_was_reached(database: Database) -> None:
    # The first host is nowhere, so the second one is what answers.
    path = database.app_url.partition("host=")[2].partition("&")[0]
    postgres = Postgres(
        f"postgresql://fluxpay_app@/{database.name}?host=/nowhere,{path}", limits=SessionLimits()
    )
    assert "/nowhere/.s.PGSQL.5432" == postgres.peer.address
    pool = postgres.pool(max_size=1)
    async with pool.connection():
        pass
    await pool.close()
    assert database.name == postgres.peer.namespace
    assert postgres.peer.address.startswith("/")
    assert "/nowhere" not in postgres.peer.address
