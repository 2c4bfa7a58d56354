"""Two service processes on one database: idempotency does not depend on which one is asked."""

import asyncio
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import psycopg2
import redis

from fluxpay.embedded.valkey import EmbeddedValkey
from tests.conftest import Database
from tests.e2e.serving import Service, enroll, serving

BODY = {"amount": 1250, "currency": "EUR"}
ANSWERED = (201, None)
REPLAYED = (201, "true")


async def pay(session: aiohttp.ClientSession, service: Service, key: str) -> tuple[Any, bytes]:
    """Pay once; gives status and replay mark, and the bytes."""
    async with session.post(
        f"{service.api_url}/v1/payments", json=BODY, headers={"Idempotency-Key": key}
    ) as answer:
        return (answer.status, answer.headers.get("Idempotent-Replayed")), await answer.read()


def payments(database: Database) -> int:
    with closing(psycopg2.connect(database.owner_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM payments")
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])


async def test_one_key_fifty_times_at_once_makes_one_payment(
    database: Database, redis_url: str
) -> None:
    async with serving(database, redis_url) as one, serving(database, redis_url) as other:
        customer = await enroll(one)
        async with aiohttp.ClientSession(headers=customer.headers) as session:
            for key in ("first", "second", "third"):
                answers = await asyncio.gather(
                    *(pay(session, (one, other)[n % 2], key) for n in range(50))
                )
                statuses = Counter(status for (status, _), _ in answers)
                assert set(statuses) <= {201, 409}
                assert 1 == len({body for (status, _), body in answers if status == 201})
                assert 1 == sum(mark == ANSWERED for mark, _ in answers)
    assert 3 == payments(database)


async def test_a_replay_still_replays_after_the_cache_was_flushed(
    database: Database, redis_url: str
) -> None:
    async with serving(database, redis_url) as one, serving(database, redis_url) as other:
        customer = await enroll(one)
        async with aiohttp.ClientSession(headers=customer.headers) as session:
            mark, body = await pay(session, one, "k")
            assert ANSWERED == mark
            with redis.Redis.from_url(redis_url) as client:
                client.flushall()
            assert (REPLAYED, body) == await pay(session, other, "k")
            assert (REPLAYED, body) == await pay(session, one, "k")
    assert 1 == payments(database)


async def test_payments_succeed_without_redis_and_readiness_says_so(
    database: Database, tmp_path: Path
) -> None:
    valkey = EmbeddedValkey.start(tmp_path)
    async with serving(database, valkey.url) as service:
        customer = await enroll(service)
        async with aiohttp.ClientSession(headers=customer.headers) as session:
            assert ANSWERED == (await pay(session, service, "before"))[0]
            valkey.stop()
            mark, body = await pay(session, service, "during")
            assert ANSWERED == mark
            assert (REPLAYED, body) == await pay(session, service, "during")
            # Readiness is looked at afresh once a second at most.
            await asyncio.sleep(1.1)
            async with session.get(f"{service.api_url}/health/ready") as answer:
                assert 503 == answer.status
                checks = {"database": "ok", "redis": "unavailable", "schema": "ok"}
                assert checks == (await answer.json())["checks"]
            narrowed = f"{service.api_url}/health/ready?require=database,schema"
            async with session.get(narrowed) as answer:
                assert 200 == answer.status
            restarted = EmbeddedValkey.start(tmp_path)
            try:
                await asyncio.sleep(2.1)
                async with session.get(f"{service.api_url}/health/ready") as answer:
                    assert 200 == answer.status, await answer.text()
            finally:
                restarted.stop()
    assert 2 == payments(database)
