"""Changing payments over HTTP, and reading back what came of it."""

import uuid
from collections.abc import Sequence
from typing import Any, Final

import redis

from tests.web.service import Answer, RawConnection, Service, request_bytes

CHANGES: Final = ("capture", "void", "refunds")
AUTHORIZATION: Final = {"amount": 1000, "currency": "EUR", "capture": "manual"}


async def authorized(service: Service) -> str:
    """The id of a payment of 1000 that is authorized."""
    made = await service.pay(body=AUTHORIZATION)
    assert 201 == made.status, made.body
    payment_id: str = made.document["id"]
    return payment_id


async def change(
    service: Service, payment_id: str, action: str, *, key: str | None = None, **members: Any
) -> Answer:
    """Change a payment; members that are None are left out, and with all of them the body."""
    body = {name: one for name, one in members.items() if one is not None}
    return await asked(service, f"/v1/payments/{payment_id}/{action}", body or None, key=key)


async def asked(
    service: Service,
    path: str,
    body: object,
    *,
    method: str = "POST",
    key: str | None = None,
    api_key: str = "",
) -> Answer:
    headers = {"Idempotency-Key": key or uuid.uuid4().hex}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    options = {} if body is None else {"json": body}
    return await service.call(method, path, headers=headers, **options)


async def sent(
    service: Service,
    path: str,
    *,
    headers: Sequence[tuple[str, str]],
    body: bytes,
    length: bool = True,
) -> Answer:
    """Post bytes as they are; each path has one key."""
    named = [
        ("Authorization", f"Bearer {service.api_key}"),
        ("Idempotency-Key", f"of-{path}"),
        *headers,
    ]
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(request_bytes("POST", path, headers=named, body=body, length=length))
        return await connection.answer()


def state(payment: dict[str, Any]) -> tuple[str, int, int]:
    return payment["status"], payment["amount_captured"], payment["amount_refunded"]


def likeness(answer: Answer) -> tuple[tuple[str, str], ...]:
    """A problem without what differs between any two requests."""
    told = {name: str(one) for name, one in answer.document.items()}
    return tuple(sorted((told | {"instance": "", "trace_id": ""}).items()))


def lose_cache(service: Service) -> None:
    with redis.Redis.from_url(service.settings.redis_url) as cache:
        cache.flushall()


async def booked(service: Service, payment_id: str) -> list[tuple[str, str, int]]:
    """The transfers of a payment by their entries: layer, from and to, amount."""
    listed = await service.call("GET", f"/v1/payments/{payment_id}/entries")
    entries = listed.document["data"]
    names = {entries[0]["account_id"]: "platform", entries[1]["account_id"]: "merchant"}
    found = []
    for debit, credit in zip(entries[::2], entries[1::2], strict=True):
        assert ("debit", "credit") == (debit["direction"], credit["direction"])
        assert (debit["layer"], debit["amount"]) == (credit["layer"], credit["amount"])
        way = f"{names[debit['account_id']]}>{names[credit['account_id']]}"
        found.append((debit["layer"], way, debit["amount"]))
    return found


async def balance(service: Service, payment_id: str) -> tuple[int, int]:
    """What the merchant has pending and posted of a payment."""
    sums = {"pending": 0, "posted": 0}
    for layer, way, amount in await booked(service, payment_id):
        sums[layer] += amount if way == "platform>merchant" else -amount
    return sums["pending"], sums["posted"]
