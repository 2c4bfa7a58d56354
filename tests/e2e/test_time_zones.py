"""A life across the changes of daylight saving time, with the whole service in another zone.

The service, the commands, the worker and the sessions of the database all believe to be in
Auckland, and then in UTC; what they tell must be the same to the byte. The instants are those at
which a clock that shows local time is wrong: Auckland's clocks went back on 5 April 2026 at 14:00
UTC of the day before, from 03:00 to 02:00, and forward on 27 September, from 02:00 to 03:00.
"""

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import psycopg2
import pytest
from uuid_utils import uuid7

from fluxpay.core.effects import ChangePayment, FindTenant, PostPayment
from fluxpay.core.idempotency import Claim, Posted, fingerprint
from fluxpay.core.money import Money
from fluxpay.core.payment_changes import Changed, Command
from fluxpay.core.payment_creation import create_payment
from fluxpay.core.payments import Action, CaptureMode, PaymentRequest
from fluxpay.stores.connection import SessionLimits
from fluxpay.stores.database import Database as Store
from fluxpay.stores.payment_changes import PaymentChanges
from fluxpay.stores.pool import Pool
from fluxpay.stores.sealing import Sealing
from fluxpay.stores.tenants import Tenants
from fluxpay.stores.writer import PaymentWriter
from fluxpay.worker.jobs import Expiry
from tests.conftest import Database
from tests.e2e.ledgers import fluxpay
from tests.e2e.serving import Customer, enroll, serving

AUCKLAND: Final = "Pacific/Auckland"
MANUAL: Final = CaptureMode.MANUAL
AUTOMATIC: Final = CaptureMode.AUTOMATIC
A_MILLISECOND: Final = timedelta(milliseconds=1)
_UUID_TIME_SHIFT: Final = 80


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


AUTUMN: Final = utc("2026-03-30T13:30:00")
"""Authorized here, it expires after clocks went back."""
FIRST_HALF_PAST_TWO: Final = utc("2026-04-04T13:30:00")
LAST_BEFORE: Final = utc("2026-04-04T13:59:59.999")
CLOCKS_GO_BACK: Final = utc("2026-04-04T14:00:00")
SECOND_HALF_PAST_TWO: Final = utc("2026-04-04T14:30:00")
AUTUMN_END: Final = utc("2026-04-06T13:30:00")
SPRING: Final = utc("2026-09-22T13:30:00")
SPRING_END: Final = utc("2026-09-29T13:30:00")

# Merchant's posted, pending, available; from each instant on, and not a millisecond before.
BALANCES: Final = [
    (AUTUMN, (0, 1000, 0)),
    (FIRST_HALF_PAST_TWO, (700, 1000, 700)),
    (LAST_BEFORE, (1100, 600, 1100)),
    (CLOCKS_GO_BACK, (900, 600, 900)),
    (SECOND_HALF_PAST_TWO, (950, 600, 950)),
    (AUTUMN_END, (950, 0, 950)),
    (SPRING, (950, 300, 950)),
    (SPRING_END, (950, 0, 950)),
]
# The same window in three spellings; local time alone would take both of the half past two.
WINDOWS: Final = [
    (("2026-04-04T13:30:00Z", "2026-04-04T14:30:00Z"), ["first half past two"]),
    (("2026-04-05T02:30:00+13:00", "2026-04-05T02:30:00+12:00"), ["first half past two"]),
    (
        ("2026-04-04T09:30:00-04:00", "2026-04-04T14:30:00.001Z"),
        [
            "second half past two",
            "first half past two",
        ],
    ),
    (("2026-04-05T02:30:00+12:00", "2026-04-06T00:00:00Z"), ["second half past two"]),
    (("2026-03-30T13:30:00.001Z", "2026-04-04T13:30:00Z"), []),
    (("2026-09-22T13:30:00Z", "2026-09-22T13:30:00.001Z"), ["spring"]),
]


class Bookkeeper:
    """Does for one tenant what the service does, at instants of the past."""

    def __init__(self, pool: Pool, tenant_id: str) -> None:
        self._pool = pool
        self._tenant_id = tenant_id
        self._changes = PaymentChanges(pool)
        self._keys = 0

    async def pay(
        self, reference: str, amount_minor: int, capture: CaptureMode, *, now: datetime
    ) -> str:
        tenant = await Tenants(self._pool).find(FindTenant(self._tenant_id))
        assert tenant is not None
        request = PaymentRequest(Money(amount_minor, "EUR"), capture=capture, reference=reference)
        # An id of that instant, as the service would have drawn it.
        random_bits = uuid7().int % (1 << _UUID_TIME_SHIFT)
        uuid = int(now.timestamp() * 1000) << _UUID_TIME_SHIFT | random_bits
        effect = next(
            create_payment(request, tenant=tenant, claim=self._claim(), uuid=uuid, now=now)
        )
        assert isinstance(effect, PostPayment)
        writer = PaymentWriter(self._pool, batch_max=1, writers_max=1)
        assert Posted() == await writer.post(effect.posting)
        await writer.close()
        return effect.posting.payment.id

    async def change(
        self, payment_id: str, action: Action, amount_minor: int, *, now: datetime
    ) -> None:
        command = Command(action, amount_minor)
        effect = ChangePayment(payment_id, command, self._claim(), uuid7().int, now)
        assert isinstance(await self._changes.change(effect), Changed)

    async def expire(self, *, now: datetime) -> int:
        return (await Expiry(self._changes, now=lambda: now).run()).done

    async def seal(self) -> None:
        assert await Sealing(self._pool).seal(100) > 0

    def _claim(self) -> Claim:
        self._keys += 1
        return Claim(self._tenant_id, f"key-{self._keys}", fingerprint("POST", "/", b""))


async def live(keeper: Bookkeeper) -> list[int]:
    """The life; and how many expired in each round, just before their time and at it."""
    autumn = await keeper.pay("autumn", 1000, MANUAL, now=AUTUMN)
    one = await keeper.pay("first half past two", 700, AUTOMATIC, now=FIRST_HALF_PAST_TWO)
    await keeper.seal()
    await keeper.change(autumn, Action.CAPTURE, 400, now=LAST_BEFORE)
    await keeper.change(one, Action.REFUND, 200, now=CLOCKS_GO_BACK)
    await keeper.pay("second half past two", 50, AUTOMATIC, now=SECOND_HALF_PAST_TWO)
    rounds = [
        await keeper.expire(now=AUTUMN_END - A_MILLISECOND),
        await keeper.expire(now=AUTUMN_END),
    ]
    await keeper.seal()
    await keeper.pay("spring", 300, MANUAL, now=SPRING)
    rounds += [
        await keeper.expire(now=SPRING_END - A_MILLISECOND),
        await keeper.expire(now=SPRING_END),
    ]
    return rounds


@pytest.fixture(params=[AUCKLAND, "UTC"])
def zone(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, database: Database
) -> Iterator[str]:
    """The zone of this process, of all that it starts, and of every session of the database."""
    name: str = request.param
    with closing(psycopg2.connect(database.owner_url)) as connection, connection:
        connection.cursor().execute(f"ALTER DATABASE {database.name} SET timezone = '{name}'")
    with monkeypatch.context() as environment:
        environment.setenv("TZ", name)
        time.tzset()
        yield name
    time.tzset()


@dataclass(frozen=True, slots=True)
class Reader:
    """A client of the service."""

    session: aiohttp.ClientSession

    async def get(self, path: str) -> Any:
        async with self.session.get(path) as answer:
            assert 200 == answer.status, await answer.text()
            return await answer.json()


@asynccontextmanager
async def lived(database: Database, redis_url: str) -> AsyncIterator[tuple[Customer, Reader]]:
    """A service, and a tenant whose life is behind it."""
    async with serving(database, redis_url) as service:
        customer = await enroll(service)
        pool = Store(database.app_url, limits=SessionLimits()).pool(max_size=1)
        assert [0, 1, 0, 1] == await live(Bookkeeper(pool, customer.tenant_id))
        await pool.close()
        async with aiohttp.ClientSession(service.api_url, headers=customer.headers) as session:
            yield customer, Reader(session)


async def test_the_zone_is_in_force(zone: str, database: Database) -> None:
    names = {AUCKLAND: ("NZST", "NZDT"), "UTC": ("UTC", "UTC")}
    assert names[zone] == time.tzname
    pool = Store(database.app_url, limits=SessionLimits()).pool(max_size=1)
    async with pool.connection() as connection:
        assert (zone,) == await connection.fetch_one("SHOW timezone")
    await pool.close()


@pytest.mark.usefixtures("zone")
async def test_a_life_across_both_changes_of_the_clocks_is_told_in_utc(
    database: Database, redis_url: str
) -> None:
    async with lived(database, redis_url) as (customer, reader):
        listed = (await reader.get("/v1/payments"))["data"]
        assert [
            ("spring", "expired", "2026-09-22T13:30:00.000Z"),
            ("second half past two", "captured", "2026-04-04T14:30:00.000Z"),
            ("first half past two", "partially_refunded", "2026-04-04T13:30:00.000Z"),
            ("autumn", "captured", "2026-03-30T13:30:00.000Z"),
        ] == [(one["reference"], one["status"], one["created_at"]) for one in listed]

        for (gte, lt), expected in WINDOWS:
            query = f"created_gte={quote(gte)}&created_lt={quote(lt)}"
            found = (await reader.get(f"/v1/payments?{query}"))["data"]
            assert expected == [one["reference"] for one in found], (gte, lt)

        merchant = (await reader.get("/v1/accounts?kind=merchant"))["data"][0]["id"]
        before = (0, 0, 0)
        for at, expected_minor in BALANCES:
            assert before == await held(reader, merchant, at - A_MILLISECOND)
            assert expected_minor == await held(reader, merchant, at)
            before = expected_minor

        statement = (await reader.get(f"/v1/accounts/{merchant}/entries"))["data"]
        booked = [(one["created_at"], one["kind"], one["amount"]) for one in statement]
        assert [
            ("2026-03-30T13:30:00.000Z", "authorization", 1000),
            ("2026-04-04T13:30:00.000Z", "capture", 700),
            ("2026-04-04T13:59:59.999Z", "capture", 400),
            ("2026-04-04T13:59:59.999Z", "release", 400),
            ("2026-04-04T14:00:00.000Z", "refund", 200),
            ("2026-04-04T14:30:00.000Z", "capture", 50),
            ("2026-04-06T13:30:00.000Z", "release", 600),
            ("2026-09-22T13:30:00.000Z", "authorization", 300),
            ("2026-09-29T13:30:00.000Z", "release", 300),
        ] == sorted(booked)
        assert sorted(one[0] for one in booked) == [one[0] for one in booked]

    assert_exported(database, customer, booked)
    proved = fluxpay("verify", FLUXPAY_DATABASE_URL=database.app_url)
    assert (0, "") == (proved.returncode, proved.stderr), proved.stdout


async def held(reader: Reader, account_id: str, at: datetime) -> tuple[int, int, int]:
    """The balance at an instant, asked for in UTC and in Auckland's words."""
    # In that year the offset was 13 hours until clocks went back, and again from late September.
    is_summer = at < CLOCKS_GO_BACK or at >= utc("2026-09-26T14:00:00")
    local = at + timedelta(hours=13 if is_summer else 12)
    written = f"{local.replace(tzinfo=None).isoformat()}+{13 if is_summer else 12}:00"
    path = f"/v1/accounts/{account_id}/balance?at="
    told = await reader.get(path + quote(at.isoformat()))
    assert told == await reader.get(path + quote(written))
    assert at == datetime.fromisoformat(told["at"])
    assert told["at"].endswith("Z")
    return told["posted"], told["pending"], told["available"]


def assert_exported(
    database: Database, customer: Customer, booked: list[tuple[str, str, int]]
) -> None:
    """The export of the hour in question is the statement's."""
    period = ("--from", "2026-04-04T13:30:00Z", "--to", "2026-04-05T02:30:00+12:00")
    what = ("entries", "--tenant", customer.tenant_id, "--format", "jsonl")
    done = fluxpay("export", *what, *period, FLUXPAY_DATABASE_URL=database.app_url)
    assert (0, "") == (done.returncode, done.stderr)
    told = {json.loads(line)["created_at"] for line in done.stdout.splitlines()}
    hour = {at for at, _, _ in booked if "2026-04-04T13:30" <= at < "2026-04-04T14:30"}
    assert hour == told


@pytest.mark.usefixtures("zone")
async def test_an_authorization_of_now_stands_for_seven_days_to_the_millisecond(
    database: Database, redis_url: str
) -> None:
    async with serving(database, redis_url) as service:
        customer = await enroll(service)
        headers = customer.headers | {"Idempotency-Key": "k"}
        body = {"amount": 1000, "currency": "EUR", "capture": "manual"}
        async with aiohttp.ClientSession(service.api_url, headers=headers) as session:
            async with session.post("/v1/payments", json=body) as answer:
                made = await answer.json()
            created_at, expires_at = (
                datetime.fromisoformat(made[name]) for name in ("created_at", "expires_at")
            )
            assert timedelta(days=7) == expires_at - created_at
            # An hour to either side: any zone's mistake would be more.
            around = [datetime.now(UTC) + timedelta(hours=hours) for hours in (-1, 1)]
            gte, lt = (quote(moment.isoformat()) for moment in around)
            listed = await Reader(session).get(f"/v1/payments?created_gte={gte}&created_lt={lt}")
            assert [made] == listed["data"]
