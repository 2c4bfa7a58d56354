"""Capture, void and refund, repeated and raced, over HTTP, on the real service."""

import asyncio
from collections import Counter

import pytest

from tests.web.changes import (
    AUTHORIZATION,
    CHANGES,
    authorized,
    balance,
    booked,
    change,
    lose_cache,
    state,
)
from tests.web.service import Service


@pytest.mark.parametrize("is_cache_lost", [False, True])
@pytest.mark.parametrize("action", CHANGES)
async def test_a_repeated_change_is_made_once_and_answered_byte_for_byte(
    service: Service, action: str, is_cache_lost: bool
) -> None:
    payment_id = await authorized(service)
    amount = None if action == "void" else 100
    if action == "refunds":
        await change(service, payment_id, "capture", amount=900)
    first = await change(service, payment_id, action, key="once", amount=amount)
    before = await booked(service, payment_id)
    if is_cache_lost:
        lose_cache(service)
    second = await change(service, payment_id, action, key="once", amount=amount)
    assert first.status in {200, 201}
    assert (first.status, first.body) == (second.status, second.body)
    assert first.headers.get("Location") == second.headers.get("Location")
    assert [None, "true"] == [one.headers.get("Idempotent-Replayed") for one in (first, second)]
    assert before == await booked(service, payment_id)


@pytest.mark.parametrize("is_cache_lost", [False, True])
async def test_a_key_is_good_for_one_route_and_one_payment(
    service: Service, is_cache_lost: bool
) -> None:
    one, other = [await authorized(service) for _ in range(2)]
    assert 200 == (await change(service, one, "capture", key="k", amount=100)).status
    if is_cache_lost:
        lose_cache(service)
    answers = [
        await change(service, other, "capture", key="k", amount=100),
        await change(service, one, "refunds", key="k", amount=100),
        await change(service, one, "capture", key="k", amount=101),
        await change(service, one, "void", key="k"),
        await service.pay("k", AUTHORIZATION),
    ]
    expected = [(422, "idempotency_key_reused")] * 5
    assert expected == [(answer.status, answer.code) for answer in answers]
    amounts = [
        (await service.call("GET", f"/v1/payments/{payment}")).document["amount_captured"]
        for payment in (one, other)
    ]
    assert [100, 0] == amounts


async def test_the_key_of_a_payment_changes_none(service: Service) -> None:
    made = await service.pay("k", AUTHORIZATION)
    answer = await change(service, made.document["id"], "capture", key="k")
    assert (422, "idempotency_key_reused") == (answer.status, answer.code)


async def test_a_refusal_that_may_change_leaves_the_key_free(service: Service) -> None:
    payment_id = await authorized(service)
    refused = await change(service, payment_id, "refunds", key="k", amount=500)
    await change(service, payment_id, "capture", amount=400)
    too_large = await change(service, payment_id, "refunds", key="k", amount=500)
    await change(service, payment_id, "capture")
    taken = await change(service, payment_id, "refunds", key="k", amount=500)
    assert [409, 422, 201] == [answer.status for answer in (refused, too_large, taken)]


async def test_sixty_four_captures_at_once_never_take_more_than_was_authorized(
    service: Service,
) -> None:
    payment_id = await authorized(service)
    answers = await asyncio.gather(
        *(change(service, payment_id, "capture", amount=70) for _ in range(64))
    )
    # 14 times 70 is 980: from then on 20 are left, and 70 is too much.
    assert Counter({200: 14, 422: 50}) == Counter(answer.status for answer in answers)
    read = (await service.call("GET", f"/v1/payments/{payment_id}")).document
    assert ("partially_captured", 980, 0) == state(read)
    assert (20, 980) == await balance(service, payment_id)


async def test_sixty_four_refunds_at_once_never_give_back_more_than_was_captured(
    service: Service,
) -> None:
    payment_id = await authorized(service)
    await change(service, payment_id, "capture")
    answers = await asyncio.gather(
        *(change(service, payment_id, "refunds", amount=30) for _ in range(64))
    )
    assert Counter({201: 33, 422: 31}) == Counter(answer.status for answer in answers)
    read = (await service.call("GET", f"/v1/payments/{payment_id}")).document
    assert ("partially_refunded", 1000, 990) == state(read)
    assert (0, 10) == await balance(service, payment_id)


async def test_captures_refunds_and_voids_at_once_leave_amounts_and_books_in_agreement(
    service: Service,
) -> None:
    payment_id = await authorized(service)
    wanted = [("capture", 60), ("refunds", 25), ("capture", 35), ("refunds", 40)] * 16
    wanted.insert(48, ("void", 0))
    answers = await asyncio.gather(
        *(change(service, payment_id, action, amount=amount or None) for action, amount in wanted)
    )
    assert {answer.status for answer in answers} <= {200, 201, 409, 422}
    read = (await service.call("GET", f"/v1/payments/{payment_id}")).document
    done = {
        action: sum(
            amount
            for (one, amount), answer in zip(wanted, answers, strict=True)
            if one == action and answer.status in {200, 201}
        )
        for action in ("capture", "refunds")
    }
    assert (done["capture"], done["refunds"]) == (read["amount_captured"], read["amount_refunded"])
    assert 0 < done["refunds"] <= done["capture"] <= 1000
    open_minor = 0 if read["expires_at"] is None else 1000 - done["capture"]
    assert (open_minor, done["capture"] - done["refunds"]) == await balance(service, payment_id)


async def test_sixty_four_twins_at_once_make_one_refund(service: Service) -> None:
    payment_id = (await service.pay()).document["id"]
    answers = await asyncio.gather(
        *(change(service, payment_id, "refunds", key="k", amount=1) for _ in range(64))
    )
    assert {201} == {answer.status for answer in answers}
    assert 1 == len({answer.body for answer in answers})
    assert 63 == sum("Idempotent-Replayed" in answer.headers for answer in answers)
    listed = (await service.call("GET", f"/v1/payments/{payment_id}/refunds")).document["data"]
    assert [answers[0].document] == listed
