"""The idempotency gate: key, claim, one at a time, replay."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import msgspec
import pytest
import redis.asyncio
from aiohttp import web

from fluxpay.core.keys import Scope
from fluxpay.core.problems import Code
from fluxpay.web.context import DOCUMENT
from fluxpay.web.route import Route
from fluxpay.web.turnstile import Turnstile
from tests.web.conftest import Launch
from tests.web.service import PAYMENT, RawConnection, Service, request_bytes
from tests.web.test_chain import assert_problem


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator["redis.asyncio.Redis"]:
    """Redis, for a test that loses or looks at what is in it."""
    client = redis.asyncio.Redis.from_url(redis_url)
    yield client
    await client.aclose()


@pytest.mark.parametrize("key", ["", " ", "two words", "x" * 256, '"', '"open', "\u00e9", "a\tb"])
async def test_a_malformed_key_is_refused(service: Service, key: str) -> None:
    async with RawConnection.to(service.api_url) as connection:
        headers = {"Authorization": f"Bearer {service.api_key}", "Idempotency-Key": key}
        await connection.send(request_bytes(headers=headers, body=b"{}"))
        answer = await connection.answer()
    assert_problem(Code.IDEMPOTENCY_KEY_MALFORMED, answer, instance="/v1/payments")


async def test_two_keys_are_malformed_and_none_is_missing(service: Service) -> None:
    bearer = ("Authorization", f"Bearer {service.api_key}")
    for keys, code in [
        ([("Idempotency-Key", "a"), ("Idempotency-Key", "a")], Code.IDEMPOTENCY_KEY_MALFORMED),
        ([], Code.IDEMPOTENCY_KEY_MISSING),
    ]:
        async with RawConnection.to(service.api_url) as connection:
            await connection.send(request_bytes(headers=[bearer, *keys], body=b"{}"))
            assert_problem(code, await connection.answer(), instance="/v1/payments")


async def test_a_quoted_key_is_the_bare_one(service: Service) -> None:
    first, second = await service.pay("k"), await service.pay('"k"')
    assert (201, first.body) == (second.status, second.body)


async def test_the_same_key_for_another_body_is_refused(service: Service) -> None:
    assert 201 == (await service.pay("k")).status
    for body in [PAYMENT | {"amount": 1251}, PAYMENT | {"reference": "r"}]:
        answer = await service.pay("k", body)
        assert_problem(Code.IDEMPOTENCY_KEY_REUSED, answer, instance="/v1/payments")


async def test_the_order_of_names_and_blanks_is_no_difference(service: Service) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    bodies = [b'{"amount":1250,"currency":"EUR"}', b'{ "currency" : "EUR", "amount": 1250 }']
    first, second = [
        await service.call("POST", "/v1/payments", data=body, headers=headers) for body in bodies
    ]
    assert (201, first.body) == (second.status, second.body)


async def test_another_tenants_key_is_another_key(service: Service) -> None:
    other = await service.for_new_tenant()
    first, second = await service.pay("k"), await other.pay("k")
    assert (201, 201) == (first.status, second.status)
    assert first.document["id"] != second.document["id"]


async def test_a_replay_outlives_the_cache(service: Service, cache: "redis.asyncio.Redis") -> None:
    first = await service.pay("k")
    await cache.flushall()
    second = await service.pay("k")
    assert (201, first.body, "true") == (
        second.status,
        second.body,
        second.headers["Idempotent-Replayed"],
    )
    assert first.headers["Location"] == second.headers["Location"]
    await cache.flushall()
    answer = await service.pay("k", PAYMENT | {"amount": 1})
    assert_problem(Code.IDEMPOTENCY_KEY_REUSED, answer, instance="/v1/payments")


async def test_fifty_twins_at_once_make_one_payment(service: Service) -> None:
    answers = await asyncio.gather(*(service.pay("k") for _ in range(50)))
    assert {201} == {answer.status for answer in answers}
    assert 1 == len({answer.body for answer in answers})
    assert 49 == sum("Idempotent-Replayed" in answer.headers for answer in answers)
    page = await service.call("GET", "/v1/payments")
    assert 1 == len(page.document["data"])


async def test_a_fraud_rejection_is_replayed_byte_for_byte(service: Service) -> None:
    tenant = await service.for_new_tenant(payment_limits=[{"currency": "EUR", "max_amount": 100}])
    first, second = await tenant.pay("k"), await tenant.pay("k")
    assert_problem(Code.FRAUD_REJECTED, first, instance="/v1/payments")
    assert (422, first.body, "application/problem+json") == (
        second.status,
        second.body,
        second.headers["Content-Type"],
    )
    assert (None, "true") == tuple(
        answer.headers.get("Idempotent-Replayed") for answer in (first, second)
    )


async def test_a_refusal_that_may_change_is_not_kept(service: Service) -> None:
    refused = await service.pay("k", PAYMENT | {"currency": "GBP"})
    assert Code.CURRENCY_NOT_ENABLED == refused.code
    assert 201 == (await service.pay("k")).status


class Gate:
    """A route that lets the test hold it, and counts how many are inside."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.entered = asyncio.Event()
        self.inside = 0
        self.inside_max = 0

    def route(self) -> Route:
        class Anything(msgspec.Struct):
            pass

        return Route(
            "POST",
            "/test/gate",
            self.handle,
            scope=Scope.PAYMENTS_WRITE,
            idempotent=True,
            body=Anything,
        )

    async def handle(self, request: web.Request) -> web.Response:
        self.inside += 1
        self.inside_max = max(self.inside, self.inside_max)
        self.entered.set()
        try:
            await self.opened.wait()
        finally:
            self.inside -= 1
        if request[DOCUMENT] == {"fail": True}:
            raise RuntimeError("as told")
        return web.Response(body=uuid.uuid4().bytes)


async def test_twins_pass_one_at_a_time_and_get_the_first_ones_answer(launch: Launch) -> None:
    gate = Gate()
    service = await launch(routes=[gate.route()])
    headers = {"Idempotency-Key": "k"}
    twins = [
        asyncio.create_task(service.call("POST", "/test/gate", json={}, headers=headers))
        for _ in range(5)
    ]
    await gate.entered.wait()
    # Another key is not held up by them.
    gate.entered.clear()
    other = asyncio.create_task(
        service.call("POST", "/test/gate", json={}, headers={"Idempotency-Key": "other"})
    )
    await gate.entered.wait()
    assert 2 == gate.inside
    gate.opened.set()
    answers = await asyncio.gather(*twins)
    assert 1 == len({answer.body for answer in answers})
    assert 2 == gate.inside_max
    assert answers[0].body != (await other).body


async def test_a_twin_that_waits_too_long_is_told_to_come_back(launch: Launch) -> None:
    gate = Gate()
    service = await launch(routes=[gate.route()], request_timeout_s=2)
    headers = {"Idempotency-Key": "k"}
    first = asyncio.create_task(service.call("POST", "/test/gate", json={}, headers=headers))
    await gate.entered.wait()
    answer = await service.call("POST", "/test/gate", json={}, headers=headers)
    assert_problem(Code.IDEMPOTENCY_IN_FLIGHT, answer, instance="/test/gate")
    assert "1" == answer.headers["Retry-After"]
    gate.opened.set()
    assert 200 == (await first).status


async def test_a_fault_frees_the_key_for_the_next_attempt(launch: Launch) -> None:
    gate = Gate()
    gate.opened.set()
    service = await launch(routes=[gate.route()])
    headers = {"Idempotency-Key": "k"}
    failed = await service.call("POST", "/test/gate", json={"fail": True}, headers=headers)
    assert 500 == failed.status
    assert 200 == (await service.call("POST", "/test/gate", json={}, headers=headers)).status


async def test_the_turnstile_serves_in_the_order_of_arrival() -> None:
    turnstile, place, order = Turnstile(wait_s=10), ("tenant", "key"), []

    async def pass_through(name: int) -> None:
        assert await turnstile.enter(place)
        await asyncio.sleep(0)
        order.append(name)
        turnstile.leave(place)

    await asyncio.gather(*(pass_through(name) for name in range(20)))
    assert list(range(20)) == order
    assert {} == turnstile._lines


async def test_whoever_gives_up_does_not_hold_up_the_line() -> None:
    turnstile, place = Turnstile(wait_s=10), ("tenant", "key")
    assert await turnstile.enter(place)
    second, third = [asyncio.create_task(turnstile.enter(place)) for _ in range(2)]
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    turnstile.leave(place)
    assert await third
    turnstile.leave(place)
    assert {} == turnstile._lines


async def test_a_turn_is_not_given_to_somebody_who_has_just_gone() -> None:
    turnstile, place = Turnstile(wait_s=10), ("tenant", "key")
    assert await turnstile.enter(place)
    second, third = [asyncio.create_task(turnstile.enter(place)) for _ in range(2)]
    await asyncio.sleep(0)
    # Cancelled, and not yet run: it still stands in the line.
    second.cancel()
    turnstile.leave(place)
    async with asyncio.timeout(5):
        assert await third
    turnstile.leave(place)
    assert {} == turnstile._lines


async def test_a_turn_that_comes_to_somebody_just_cancelled_goes_on_to_the_next() -> None:
    turnstile, place = Turnstile(wait_s=10), ("tenant", "key")
    assert await turnstile.enter(place)
    second, third = [asyncio.create_task(turnstile.enter(place)) for _ in range(2)]
    await asyncio.sleep(0)
    # The turn is given and taken away before the second task runs again.
    turnstile.leave(place)
    second.cancel()
    async with asyncio.timeout(5):
        assert await third
    assert second.cancelled() or (await asyncio.gather(second, return_exceptions=True))
    turnstile.leave(place)
    assert {} == turnstile._lines


async def test_a_line_that_is_too_long_takes_nobody_more() -> None:
    turnstile, place = Turnstile(wait_s=10), ("tenant", "key")
    assert await turnstile.enter(place)
    waiting = [asyncio.create_task(turnstile.enter(place)) for _ in range(256)]
    await asyncio.sleep(0)
    assert not await turnstile.enter(place)
    for _ in waiting:
        turnstile.leave(place)
        await asyncio.sleep(0)
    assert all(await asyncio.gather(*waiting))
