"""64 clients at once on one payment, and on two accounts: nothing is taken that was not there.

Unlike the races of the web tier these go through two service processes, so that no in-process
order helps; what settles them is the database alone.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final

import aiohttp
import psycopg2
import pytest

from tests.conftest import Database
from tests.e2e.ledgers import fluxpay
from tests.e2e.serving import Customer, enroll, serving

CLIENTS: Final = 64
AUTHORIZED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Crowd:
    """Clients of one tenant, who take turns at two services."""

    customer: Customer
    sessions: tuple[aiohttp.ClientSession, ...]

    async def all_at_once(self, *requests: tuple[str, dict[str, Any]]) -> list[tuple[int, Any]]:
        """Post all of them; the status and the document of each."""
        places = zip(requests, cycle(self.sessions))
        return await asyncio.gather(*(post(one, *request) for request, one in places))

    async def one(self, path: str, body: dict[str, Any]) -> Any:
        """Post, and get what was made or changed."""
        status, told = await post(self.sessions[0], path, body)
        assert status in {200, 201}, told
        return told

    async def get(self, path: str) -> Any:
        async with self.sessions[0].get(path) as answer:
            assert 200 == answer.status
            return await answer.json()

    async def balances(self) -> dict[str, dict[str, int]]:
        """The balance of every account, by its kind."""
        accounts = (await self.get("/v1/accounts"))["data"]
        return {
            one["kind"]: await self.get(f"/v1/accounts/{one['id']}/balance") for one in accounts
        }

    async def account_ids(self) -> dict[str, str]:
        return {one["kind"]: one["id"] for one in (await self.get("/v1/accounts"))["data"]}


async def post(session: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    headers = {"Idempotency-Key": f"k-{random.getrandbits(64)}"}
    async with session.post(path, json=body, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


@asynccontextmanager
async def crowded(database: Database, redis_url: str) -> AsyncIterator[Crowd]:
    """Two services and their clients; in the end the services stop in peace."""
    async with AsyncExitStack() as stack:
        services = [await stack.enter_async_context(serving(database, redis_url)) for _ in "ab"]
        customer = await enroll(services[0])
        sessions = [
            await stack.enter_async_context(
                aiohttp.ClientSession(
                    one.api_url,
                    headers=customer.headers,
                    connector=aiohttp.TCPConnector(limit=CLIENTS),
                )
            )
            for one in services
        ]
        yield Crowd(customer, tuple(sessions))
        for session in sessions:
            await session.close()
        assert [0, 0] == [await one.stop() for one in services]


def seed() -> random.Random:
    """A source of amounts that a failing run prints."""
    number = random.getrandbits(32)
    print("seed:", number)  # noqa: T201 - pytest shows it when the test fails
    return random.Random(number)


def assert_sound(database: Database) -> None:
    """No deadlock was met, and the books prove; for when the services have stopped."""
    with closing(psycopg2.connect(database.owner_url)) as connection, connection.cursor() as sql:
        connection.autocommit = True
        others = "SELECT FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        # A session hands in what it has counted when it ends.
        sql.execute(others, (database.name,))
        while sql.rowcount:
            time.sleep(0.05)
            sql.execute(others, (database.name,))
        sql.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = %s", (database.name,))
        assert [(0,)] == sql.fetchall()
    proved = fluxpay("verify", FLUXPAY_DATABASE_URL=database.app_url)
    assert (0, "") == (proved.returncode, proved.stderr), proved.stdout
    assert "books are sound" in proved.stdout


def sums(
    requests: list[tuple[str, dict[str, Any]]], answers: list[tuple[int, Any]]
) -> Counter[str]:
    """What was done, by the last word of the path."""
    done = Counter[str]()
    for (path, body), (status, _) in zip(requests, answers, strict=True):
        if status in {200, 201}:
            done[path.rpartition("/")[2]] += body["amount"]
    return done


async def test_captures_and_refunds_of_one_payment_never_exceed_what_is_there(
    database: Database, redis_url: str
) -> None:
    chance = seed()
    async with crowded(database, redis_url) as crowd:
        body = {"amount": AUTHORIZED, "currency": "EUR", "capture": "manual"}
        payment = await crowd.one("/v1/payments", body)
        at = f"/v1/payments/{payment['id']}"
        await crowd.one(f"{at}/capture", {"amount": 1000})
        requests = [
            (f"{at}/{action}", {"amount": chance.randint(1, 600)})
            for action in ["capture", "refunds"] * (CLIENTS // 2)
        ]
        answers = await crowd.all_at_once(*requests)
        statuses = Counter(status for status, _ in answers)
        assert statuses.keys() <= {200, 201, 409, 422}, statuses
        done, read = sums(requests, answers), await crowd.get(at)
        captured, refunded = 1000 + done["capture"], done["refunds"]
        assert (captured, refunded) == (read["amount_captured"], read["amount_refunded"])
        assert 1000 < captured <= AUTHORIZED
        assert 0 < refunded <= captured
        listed = (await crowd.get(f"{at}/refunds"))["data"]
        assert refunded == sum(one["amount"] for one in listed)
        held = (await crowd.balances())["merchant"]
        assert (captured - refunded, AUTHORIZED - captured) == (held["posted"], held["pending"])
    assert_sound(database)


async def test_more_captures_than_fit_take_no_more_than_was_authorized(
    database: Database, redis_url: str
) -> None:
    chance = seed()
    async with crowded(database, redis_url) as crowd:
        body = {"amount": AUTHORIZED, "currency": "EUR", "capture": "manual"}
        at = f"/v1/payments/{(await crowd.one('/v1/payments', body))['id']}"
        captures = [(f"{at}/capture", {"amount": chance.randint(300, 700)}) for _ in range(CLIENTS)]
        answers = await crowd.all_at_once(*captures)
        captured = sums(captures, answers)["capture"]
        assert captured == (await crowd.get(at))["amount_captured"]
        # Whoever was refused asked for more than is left, and nothing that would fit was refused.
        left = AUTHORIZED - captured
        refused = [told for status, told in answers if status != 200]
        assert {told["code"] for told in refused} <= {"amount_too_large", "invalid_transition"}
        assert 0 <= left <= min(told.get("limit", 0) for told in refused)
        assert left < 700

        refunds = [(f"{at}/refunds", {"amount": chance.randint(300, 700)}) for _ in range(CLIENTS)]
        told = await crowd.all_at_once(*refunds)
        refunded = sums(refunds, told)["refunds"]
        assert refunded == (await crowd.get(at))["amount_refunded"]
        assert 0 < refunded <= captured
        assert {201} < {status for status, _ in told} <= {201, 409, 422}
    assert_sound(database)


@pytest.mark.parametrize("no_overdraft", [False, True])
async def test_opposing_transfers_between_two_accounts(
    database: Database, redis_url: str, no_overdraft: bool
) -> None:
    chance = seed()
    async with crowded(database, redis_url) as crowd:
        await crowd.one("/v1/payments", {"amount": 1000, "currency": "EUR"})
        wanted = {"kind": "reserve", "currency": "EUR", "no_overdraft": no_overdraft}
        await crowd.one("/v1/accounts", wanted)
        ids = await crowd.account_ids()
        await crowd.one(f"/v1/accounts/{ids['merchant']}", {"no_overdraft": no_overdraft})
        ways = [("merchant", "reserve"), ("reserve", "merchant")] * (CLIENTS // 2)
        requests: list[tuple[str, dict[str, Any]]] = [
            (
                "/v1/transfers",
                {
                    "debit_account_id": ids[debit],
                    "credit_account_id": ids[credit],
                    "amount": chance.randint(1, 900),
                    "currency": "EUR",
                },
            )
            for debit, credit in ways
        ]
        answers = await crowd.all_at_once(*requests)
        moved = dict.fromkeys(ids, 0)
        for (debit, credit), (_, body), (status, _) in zip(ways, requests, answers, strict=True):
            if status == 201:
                moved[debit] -= body["amount"]
                moved[credit] += body["amount"]
        held = {kind: one["posted"] for kind, one in (await crowd.balances()).items()}
        assert (1000 + moved["merchant"], moved["reserve"]) == (held["merchant"], held["reserve"])
        statuses = {status for status, _ in answers}
        if no_overdraft:
            assert {201, 409} == statuses
            assert held["merchant"] >= 0
            assert held["reserve"] >= 0
        else:
            assert {201} == statuses
    assert_sound(database)
