"""People who use FluxPay: shops of different sizes, one that asks too much, a fraud, a stranger.

Knows the API as a client does. Must not know what is measured. Each person does one thing after the
other and takes whatever comes: an answer, a refusal, a cut connection.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import aiohttp

from tests.e2e.serving import Customer, Service, enroll

CURRENCIES: Final = ("EUR", "USD", "JPY")
SHOPS: Final = 12
PAUSE_S: Final = 0.25
TIMEOUT: Final = aiohttp.ClientTimeout(total=15)
# One request in this many asks for its trace to be recorded.
TRACED: Final = 10
LARGE: Final = 400_000
FRAUD_LIMITS: Final = [
    {
        "currency": currency,
        "max_amount": LARGE // 2,
        "velocity": {"count": 1_000_000, "window_s": 60},
    }
    for currency in CURRENCIES
]
STRANGER: Final = "fp_test_01m82vkwk3e06ta73nzm82nhmn_27gbkRvqzCvsKpjAY8cx3i2eZkPuBFO351JNWcc"


@dataclass(slots=True)
class Town:
    """All who use one service, and what came of it: answers by status."""

    service: Service
    session: aiohttp.ClientSession
    shops: list[Customer]
    hasty: Customer
    fraud: Customer
    answers: Counter[int] = field(default_factory=Counter)

    @staticmethod
    async def settled(service: Service, session: aiohttp.ClientSession) -> Town:
        """Enroll everybody."""
        shops = [await enroll(service, currencies=CURRENCIES) for _ in range(SHOPS)]
        hasty = await enroll(service, requests_a_minute=20, currencies=CURRENCIES)
        fraud = await enroll(service, payment_limits=FRAUD_LIMITS, currencies=CURRENCIES)
        return Town(service, session, shops, hasty, fraud)

    async def live(self, people: int, stop: asyncio.Event) -> None:
        """Let this many people act until told to stop."""
        habits: tuple[Callable[[], Awaitable[object]], ...] = (
            *[self._shop] * (people - 3),
            lambda: self._pay(self.hasty),
            lambda: self._pay(self.fraud, amount=random.choice((1_000, LARGE))),
            self._stray,
        )
        async with asyncio.TaskGroup() as group:
            for habit in habits:
                group.create_task(self._act(habit, stop))

    async def _act(self, habit: Callable[[], Awaitable[object]], stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await habit()
            except (aiohttp.ClientError, TimeoutError):
                self.answers[0] += 1
            await asyncio.sleep(random.expovariate(1 / PAUSE_S))

    async def _shop(self) -> None:
        # Some shops are far busier than others.
        weights = [1 / rank for rank in range(1, SHOPS + 1)]
        (shop,) = random.choices(self.shops, weights)
        habits: dict[Callable[[Customer], Awaitable[object]], int] = {
            self._pay: 55,
            self._pay_later: 14,
            self._give_back: 8,
            self._pay_twice: 10,
            self._look: 10,
            self._pay_many: 3,
        }
        (habit,) = random.choices(list(habits), list(habits.values()))
        await habit(shop)

    async def _pay(self, who: Customer, *, amount: int | None = None, **more: Any) -> str:
        body = {
            "amount": amount or int(random.paretovariate(1.2) * 500) % LARGE + 1,
            "currency": random.choices(CURRENCIES, (6, 3, 1))[0],
            **more,
        }
        found = await self._ask("POST", "/v1/payments", who, json=body)
        return str(found.get("id", ""))

    async def _pay_later(self, shop: Customer) -> None:
        payment = await self._pay(shop, capture="manual")
        if payment:
            await asyncio.sleep(PAUSE_S)
            what = random.choice(("capture", "capture", "void"))
            await self._ask("POST", f"/v1/payments/{payment}/{what}", shop, json={})

    async def _give_back(self, shop: Customer) -> None:
        payment = await self._pay(shop, amount=2_000)
        if payment:
            path = f"/v1/payments/{payment}/refunds"
            await self._ask("POST", path, shop, json={"amount": 500})

    async def _pay_twice(self, shop: Customer) -> None:
        key = uuid4().hex
        same = {"amount": 700, "currency": "EUR"}
        for body in (same, same, random.choice((same, {**same, "amount": 701}))):
            await self._ask("POST", "/v1/payments", shop, key=key, json=body)

    async def _look(self, shop: Customer) -> None:
        for path in ("/v1/payments?limit=20", "/v1/accounts", "/v1/trial-balance"):
            await self._ask("GET", path, shop)

    async def _pay_many(self, shop: Customer) -> None:
        items = [
            {"idempotency_key": uuid4().hex, "amount": 300 + number, "currency": "EUR"}
            for number in range(20)
        ]
        body = {"mode": "independent", "payments": items}
        await self._ask("POST", "/v1/payments/batch", shop, json=body)

    async def _stray(self) -> None:
        stranger = Customer("", STRANGER)
        await self._pay(stranger)
        await self._ask("GET", f"/v1/nowhere/{uuid4()}", random.choice(self.shops))
        await self._pay(random.choice(self.shops), currency="XXX")

    async def _ask(
        self, method: str, path: str, who: Customer, *, key: str | None = None, **options: Any
    ) -> dict[str, Any]:
        headers = {**who.headers, "Idempotency-Key": key or uuid4().hex}
        if random.randrange(TRACED) == 0:
            headers["traceparent"] = f"00-{uuid4().hex}-{uuid4().hex[:16]}-01"
        url = f"{self.service.api_url}{path}"
        async with self.session.request(
            method, url, headers=headers, timeout=TIMEOUT, **options
        ) as answer:
            self.answers[answer.status] += 1
            found: dict[str, Any] = await answer.json(content_type=None)
            return found
