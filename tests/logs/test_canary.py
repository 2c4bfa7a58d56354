"""An hour's worth of mixed logs, at their most talkative, holds none of anybody's secrets."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import psycopg2
import pytest

from fluxpay.embedded.postgres import SOCKET, EmbeddedPostgres
from fluxpay.embedded.valkey import EmbeddedValkey
from tests.conftest import Database
from tests.e2e.serving import ADMIN_TOKEN, Customer, Service, enroll, serving
from tests.faults.proxy import FaultProxy
from tests.logs.scanning import card_numbers
from tests.web.service import RawConnection, request_bytes
from tests.worker import processes

ROUNDS = 40
AT_ONCE = 16
CANARY = "c4n4ry"
PASSWORD = f"{CANARY}-pass-word"
CARDS = ("4111111111111111", "5500 0000 0000 0004", "3782-822463-10005", "6011.0009.9013.9424")
OURS = ("trace_id", "span_id", "tenant_id", "key_id")


@dataclass(slots=True)
class Traffic:
    """Clients of all kinds; each thing they send that is nobody's business begins with `CANARY`."""

    service: Service
    customers: list[Customer]
    session: aiohttp.ClientSession
    chance: random.Random
    statuses: Counter[int] = field(default_factory=Counter)

    async def round(self) -> None:
        """One of each kind, in any order."""
        kinds = [self.pay, self.pay_badly, self.read, self.lie, self.administer, self.break_http]
        self.chance.shuffle(kinds)
        await asyncio.gather(*(kind() for kind in kinds))

    def word(self) -> str:
        return f"{CANARY}-{self.chance.getrandbits(64):x} {self.chance.choice(CARDS)}"

    def key(self) -> str:
        return f"{CANARY}-{self.chance.getrandbits(64):x}"

    def body(self, **changes: Any) -> dict[str, Any]:
        words = {"description": self.word(), "metadata": {self.key(): self.word()}}
        return {"amount": 1250, "currency": "EUR", "reference": self.word(), **words, **changes}

    async def send(self, method: str, path: str, *, admin: bool = False, **options: Any) -> Any:
        customer = self.chance.choice(self.customers)
        headers = {
            "Authorization": f"Bearer {ADMIN_TOKEN if admin else customer.api_key}",
            "Idempotency-Key": self.key(),
            "X-Secret": self.word(),
            "X-Request-Id": self.chance.choice((CARDS[0], customer.api_key, f"id{CARDS[2]}", "é")),
            **options.pop("headers", {}),
        }
        url = (self.service.admin_url if admin else self.service.api_url) + path
        async with self.session.request(method, url, headers=headers, **options) as answer:
            self.statuses[answer.status] += 1
            body = await answer.read()
        return json.loads(body) if body.startswith(b"{") else {}

    async def pay(self) -> None:
        paid = await self.send("POST", "/v1/payments", json=self.body(capture="manual"))
        path = f"/v1/payments/{paid.get('id', 'pay_none')}"
        await self.send("POST", f"{path}/capture", json={})
        await self.send("POST", f"{path}/refunds", json={"amount": 1, "reason": self.word()})
        again = {"Idempotency-Key": self.key()}
        for changes in ({}, {}, {"amount": 2}):
            await self.send(
                "POST",
                "/v1/payments",
                json={"amount": 1, "currency": "EUR", **changes},
                headers=again,
            )
        items = [{"idempotency_key": self.key(), **self.body()} for _ in range(3)]
        await self.send(
            "POST", "/v1/payments/batch", json={"mode": "independent", "payments": items}
        )

    async def pay_badly(self) -> None:
        for changes in ({"amount": self.word()}, {"currency": self.word()}, {self.word(): 1}):
            await self.send("POST", "/v1/payments", json=self.body(**changes))
        # Its insert breaks a constraint, and the database quotes the row.
        await self.send("POST", "/v1/payments", json=self.body(amount=666))
        await self.send("POST", "/v1/payments", json=self.body(amount=10**12))
        for data in (f'{{"{self.word()}', f'{{"amount": "{self.word()}"}}', self.word() * 9000):
            kind = {"Content-Type": "application/json"}
            await self.send("POST", "/v1/payments", data=data.encode(), headers=kind)
        await self.send("POST", "/v1/payments", data=self.word().encode())

    async def read(self) -> None:
        paths = ("", f"/{self.word()}", f"?reference={self.word()}", f"?cursor={self.word()}")
        for path in paths:
            await self.send("GET", f"/v1/payments{path}")
        await self.send("GET", f"/{self.word()}?token={self.word()}")
        await self.send("DELETE", "/v1/payments")
        await self.send("GET", f"/health/ready?require={self.word()}")

    async def lie(self) -> None:
        known = self.chance.choice(self.customers).api_key
        for told in (known[:-1] + "x", f"{CANARY}{known}", known[:60]):
            for scheme in ("Bearer", "Basic", CANARY):
                await self.send(
                    "GET", "/v1/payments", headers={"Authorization": f"{scheme} {told}"}
                )

    async def administer(self) -> None:
        await self.send("GET", "/admin/v1/tenants", admin=True)
        wrong = {"Authorization": f"Bearer {CANARY}-{ADMIN_TOKEN}"}
        await self.send("GET", "/admin/v1/tenants", admin=True, headers=wrong)
        tenant = f"/admin/v1/tenants/{self.chance.choice(self.customers).tenant_id}"
        await self.send("PUT", tenant, admin=True, json={"display_name": self.word()})
        made = await self.send(
            "POST", f"{tenant}/keys", admin=True, json={"name": self.word(), "scopes": []}
        )
        assert "api_key" not in made
        await self.send("GET", f"{tenant}/keys/{self.word()}", admin=True)

    async def break_http(self) -> None:
        broken = (
            b"GET / HTTP/1.1\r\nBad Name: " + self.word().encode() + b"\r\n\r\n",
            self.word().encode() + b"\r\n\r\n",
            request_bytes(headers={"Expect": self.word()}, length=False),
        )
        for sent in broken:
            async with RawConnection.to(self.service.api_url) as connection:
                await connection.send(sent)
                self.statuses[(await connection.answer()).status] += 1


@pytest.fixture
async def proxies(
    postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> AsyncIterator[tuple[FaultProxy, FaultProxy]]:
    """The ways to Postgres and to Valkey, which can be broken."""
    async with (
        FaultProxy(postgres.sockets / SOCKET) as to_postgres,
        FaultProxy(Path(valkey.url.removeprefix("unix://").partition("?")[0])) as to_valkey,
    ):
        yield to_postgres, to_valkey


async def test_no_secret_and_no_customer_s_word_is_in_any_line(
    database: Database,
    redis_url: str,
    proxies: tuple[FaultProxy, FaultProxy],
    tmp_path: Path,
) -> None:
    assert redis_url
    to_postgres, to_valkey = proxies
    place = f"fluxpay_app:{PASSWORD}@{to_postgres.host}:{to_postgres.port}"
    reached = replace(database, app_url=f"postgresql://{place}/{database.name}")
    cache = f"redis://{to_valkey.host}:{to_valkey.port}/0"
    run_as_owner(database, "ALTER TABLE payments ADD CONSTRAINT unlucky CHECK (amount <> 666)")
    talkative = {"FLUXPAY_LOG_LEVEL": "DEBUG", "FLUXPAY_LOG_REQUESTS": "1"}
    log = tmp_path / "log"
    async with AsyncExitStack() as stack:
        errors = stack.enter_context(log.open("ab"))
        limits = {"FLUXPAY_REQUEST_TIMEOUT_S": "2", **talkative}
        service = await stack.enter_async_context(
            serving(reached, cache, stderr=errors.fileno(), **limits)
        )
        worker = await stack.enter_async_context(
            processes.working(reached, stderr=errors.fileno(), **talkative)
        )
        session = await stack.enter_async_context(aiohttp.ClientSession())
        customers = [await enroll(service) for _ in range(3)]
        customers.append(await enroll(service, requests_a_minute=5))
        traffic = Traffic(service, customers, session, random.Random(7))
        await played(traffic, to_postgres, to_valkey)
        spoil_an_authorization(database)
        async with asyncio.timeout(60):
            while "payment_cannot_expire" not in log.read_text(encoding="ascii"):
                await asyncio.sleep(0.5)
        assert 0 == await service.stop()
        assert 0 == await processes.stop(worker)
    text = log.read_text(encoding="ascii")
    secrets = [CANARY, ADMIN_TOKEN, *(one.api_key.rpartition("_")[2] for one in customers)]
    assert [] == [secret for secret in secrets if secret in text]
    lines = [json.loads(line) for line in text.splitlines()]
    assert [] == [line for line in lines if cards_in(line)]
    assert {("timestamp", "level", "logger", "event")} == {tuple(line)[:4] for line in lines}
    answered = Counter(one["status"] for one in lines if one["event"] == "request_answered")
    assert {200, 201, 400, 401, 404, 405, 415, 422, 429, 500, 503} <= set(traffic.statuses)
    # Each request has its line, those of the enrolments too.
    assert not traffic.statuses - answered
    events = {line["event"] for line in lines}
    assert {"request_failed", "job_failed", "job_recovered", "payment_cannot_expire"} <= events
    assert "lines_dropped" not in events


async def played(traffic: Traffic, to_postgres: FaultProxy, to_valkey: FaultProxy) -> None:
    """Some thousand requests, while the stores come and go."""
    for number in range(ROUNDS):
        if number == ROUNDS // 3:
            await to_valkey.refuse()
        if number == ROUNDS // 2:
            to_postgres.cut()
            await to_postgres.refuse()
        await asyncio.gather(*(traffic.round() for _ in range(AT_ONCE if number % 10 else 1)))
        if number == ROUNDS // 2:
            await asyncio.sleep(1)
            await to_postgres.heal()
            await to_valkey.heal()


def cards_in(line: dict[str, Any]) -> list[str]:
    """The card numbers of a line; what machines have made may look like one."""
    told = {name: value for name, value in line.items() if name not in OURS}
    return [
        card
        for name, value in told.items()
        if not (name == "request_id" and value == line.get("trace_id"))
        for card in card_numbers(str(value))
        if name != "timestamp"
    ]


def spoil_an_authorization(database: Database) -> None:
    run_as_owner(
        database,
        "UPDATE payments SET amount_captured = 1, status = 'partially_captured',"
        " expires_at = now() - interval '1 day' WHERE status = 'authorized'",
    )


def run_as_owner(database: Database, statement: str) -> None:
    with closing(psycopg2.connect(database.owner_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
