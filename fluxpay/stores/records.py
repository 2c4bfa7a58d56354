"""What every change writes beside itself: its idempotency record and its event.

Knows how a claim is looked up inside the transaction that settles it, how record and event go into
a SQL function as JSON, and when a whole transaction is run again. Must not know what is changed.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from fluxpay.core import idempotency
from fluxpay.core.idempotency import Expired, Mismatched, Replayed, StoredReply
from fluxpay.stores.problems import OutcomeUnknown, SerializationLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from fluxpay.core.events import Event
    from fluxpay.core.idempotency import Claim
    from fluxpay.stores.connection import Connection

T = TypeVar("T")

_ATTEMPTS_MAX: Final = 4
_BACKOFF_S_MAX: Final = 0.2

RECORD: Final = """
    SELECT encode(r.fingerprint, 'hex'), r.status, r.body, r.location, p.id
    FROM (SELECT %s AS tenant_id, %s AS idempotency_key) AS claim
    LEFT JOIN idempotency_records r USING (tenant_id, idempotency_key)
    LEFT JOIN payments p USING (tenant_id, idempotency_key)
"""
"""What is kept under a tenant's key: the reply, or the payment that outlived it."""


async def until_settled(attempt: Callable[[], Awaitable[T]]) -> T:
    """Run a transaction until its outcome is known, or the attempts are spent.

    Raises:
        StoreError: The database could not be asked, or the outcome could not be learnt.
    """
    for number in range(1, _ATTEMPTS_MAX):
        try:
            return await attempt()
        except (SerializationLost, OutcomeUnknown):
            # What a lost reply had committed is found under its key the next time. The wait
            # spreads the retries of many processes; it wants no secrecy.
            await asyncio.sleep(random.uniform(0, _BACKOFF_S_MAX * number))  # noqa: S311
    return await attempt()


async def recorded(connection: Connection, claim: Claim) -> Replayed | Mismatched | Expired | None:
    """What a claim gets whose key was used before; None where it was not."""
    row = await connection.fetch_one(RECORD, (claim.tenant_id, claim.key))
    if row is None:
        return None
    fingerprint, status, body, location, payment_id = row
    if fingerprint is not None:
        return idempotency.settle(claim, StoredReply(fingerprint, status, body.encode(), location))
    return None if payment_id is None else Expired(payment_id)


async def write(connection: Connection, sql: str, parts: dict[str, object]) -> None:
    """Call a SQL function that writes a change and tells whether its key was free.

    Raises:
        SerializationLost: It was not: somebody claimed it since it was looked up.
    """
    row = await connection.fetch_one(sql, (msgspec.json.encode(parts).decode(),))
    if row != (True,):
        message = "the key was claimed by another request in the meantime"
        raise SerializationLost(message)


def record_json(
    claim: Claim, reply: StoredReply, *, resource_id: str, created_at: datetime
) -> dict[str, object]:
    """The record of a settled claim.

    Args:
        resource_id: What the request made or changed.
    """
    return {
        "idempotency_key": claim.key,
        "fingerprint": claim.fingerprint,
        "resource_id": resource_id,
        "status": reply.status,
        "body": reply.body.decode(),
        "location": reply.location,
        "created_at": created_at,
    }


def event_json(event: Event) -> dict[str, object]:
    """An event for the outbox."""
    return {
        "id": event.id,
        "type": event.type,
        "subject_id": event.subject_id,
        "data": msgspec.Raw(event.data),
        "created_at": event.created_at,
    }
