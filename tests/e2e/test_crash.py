"""`kill -9` under load, again and again: nothing acknowledged is lost, and nothing is doubled."""

import asyncio
import os
import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import aiohttp
import psycopg2
import pytest

from tests.conftest import Database
from tests.e2e.serving import Customer, Service, enroll, serving

CRASHES = 50
CLIENTS = 16
RUN_S_MAX = 0.25


@dataclass
class Ledger:
    """What the clients know: which payment each key got, and which keys got no answer yet."""

    acknowledged: dict[str, bytes] = field(default_factory=dict)
    unanswered: set[str] = field(default_factory=set)
    keys: Iterator[str] = field(default_factory=lambda: (f"k-{n}" for n in count()))

    async def pay(self, session: aiohttp.ClientSession, service: Service, key: str) -> None:
        """Ask once; whatever happens to the connection, the key is not forgotten."""
        self.unanswered.add(key)
        body = {"amount": 100, "currency": "EUR", "reference": key}
        headers = {"Idempotency-Key": key}
        url = f"{service.api_url}/v1/payments"
        async with session.post(url, json=body, headers=headers) as answer:
            received = await answer.read()
            assert 201 == answer.status, received
        assert received == self.acknowledged.setdefault(key, received)
        self.unanswered.discard(key)


async def client(ledger: Ledger, service: Service, customer: Customer) -> None:
    """Pay until the connection breaks: first what stayed unanswered, then something new."""
    async with aiohttp.ClientSession(headers=customer.headers) as session:
        while True:
            try:
                key = ledger.unanswered.pop() if ledger.unanswered else next(ledger.keys)
                await ledger.pay(session, service, key)
            except (aiohttp.ClientError, ConnectionError):
                return


@pytest.mark.timeout(400)
async def test_fifty_crashes_under_load_lose_and_double_nothing(
    database: Database, redis_url: str
) -> None:
    seed = int(os.environ.get("FLUXPAY_TEST_SEED", random.randrange(2**32)))
    print(f"FLUXPAY_TEST_SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    chance, ledger, customer = random.Random(seed), Ledger(), None
    for _ in range(CRASHES):
        async with serving(database, redis_url) as service:
            customer = customer or await enroll(service)
            clients = [
                asyncio.ensure_future(client(ledger, service, customer)) for _ in range(CLIENTS)
            ]
            await asyncio.sleep(chance.uniform(0, RUN_S_MAX))
            await service.kill()
            await asyncio.gather(*clients)
    assert customer is not None
    assert len(ledger.acknowledged) > CRASHES, "the crashes came before any payment"
    async with (
        serving(database, redis_url) as service,
        aiohttp.ClientSession(headers=customer.headers) as session,
    ):
        for key in sorted(ledger.unanswered):
            await ledger.pay(session, service, key)
        for key in chance.sample(sorted(ledger.acknowledged), 50):
            await ledger.pay(session, service, key)
        assert 0 == await service.stop()
    assert expected_rows(ledger) == stored_rows(database)


def expected_rows(ledger: Ledger) -> dict[str, Any]:
    total = len(ledger.acknowledged)
    return {
        "keys": sorted(ledger.acknowledged),
        "transfers": (total, 100 * total),
        "records": total,
        "events": total,
        "entries": [("credit", 100 * total), ("debit", 100 * total)],
        "replies": {key: body.decode() for key, body in ledger.acknowledged.items()},
    }


def stored_rows(database: Database) -> dict[str, Any]:
    with closing(psycopg2.connect(database.owner_url)) as connection, connection.cursor() as cursor:

        def rows(sql: str) -> list[tuple[Any, ...]]:
            cursor.execute(sql)
            return cursor.fetchall()

        return {
            "keys": sorted(key for (key,) in rows("SELECT idempotency_key FROM payments")),
            "transfers": rows(
                """
                SELECT count(*), sum(t.amount)::bigint FROM ledger_transfers t
                JOIN payments p ON p.id = t.payment_id AND p.amount = t.amount
                """
            )[0],
            "records": rows("SELECT count(*) FROM idempotency_records")[0][0],
            "events": rows("SELECT count(*) FROM events")[0][0],
            "entries": rows(
                "SELECT direction, sum(amount)::bigint FROM ledger_entries GROUP BY 1 ORDER BY 1"
            ),
            "replies": dict(
                rows(
                    """
                    SELECT r.idempotency_key, r.body FROM idempotency_records r
                    JOIN payments p ON p.id = r.resource_id
                    """
                )
            ),
        }
