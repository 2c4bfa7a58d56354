"""The batch route: up to 500 payments in one request, all or none or each for itself.

Every item is the payment that it would be under `POST /v1/payments`: its key, its fingerprint and
its remembered reply are those of that request, so either can repeat the other. Gathers what the
core decides, item by item and a bounded number at once; decides nothing itself.

When the world fails an item, the others are still driven to their end, and then the whole request
fails: sent again, it finds done what was done.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, TypeVar, assert_never, cast

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType
from uuid_utils import uuid7

from fluxpay.core.batches import (
    ITEMS_MAX,
    BatchMode,
    Item,
    commit_together,
    create_item,
    find_batch,
    keep_batch,
    prepare_item,
)
from fluxpay.core.effects import RememberReply
from fluxpay.core.idempotency import Claim, Settled, StoredReply, fingerprint
from fluxpay.core.payments import CaptureMode
from fluxpay.core.problems import PROBLEMS, Code, FieldError, Refused
from fluxpay.web import validation
from fluxpay.web.bodies import PaymentAnswer, PaymentBody, ProblemAnswer
from fluxpay.web.context import CLAIM, DOCUMENT, METRICS, PRINCIPAL, RULES, WORLD
from fluxpay.web.driver import drive
from fluxpay.web.idempotency import reply_response
from fluxpay.web.payments import asked
from fluxpay.web.problems import respond, write
from fluxpay.web.strict_json import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fluxpay.core.batches import Result
    from fluxpay.core.effects import Step
    from fluxpay.web.world import World

T = TypeVar("T")

BODY_MAX_BYTES: Final = 1_048_576
# Enough to fill commit after commit; few enough that one batch is not the whole queue.
_AT_ONCE_MAX: Final = 64
_REFUSAL_STATUS_MIN: Final = 400


# Inherits, because an item is nothing but the body of a single request and its key.
class BatchItem(PaymentBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A payment to be made, under its own key."""

    idempotency_key: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=255,
            pattern=r"^[!-~]+(?!\n)$",
            description="Of this payment alone, from the same space as the header's keys.",
            examples=["order-1042"],
            extra={"expects": "text of 1 to 255 visible ASCII characters"},
        ),
    ]


class BatchBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Payments to be made."""

    mode: Annotated[
        BatchMode,
        Meta(
            description="`atomic`: all are made, or none. `independent`: each for itself.",
            examples=["atomic"],
        ),
    ]
    payments: Annotated[
        tuple[BatchItem, ...],
        Meta(
            min_length=1,
            max_length=ITEMS_MAX,
            examples=[[{"idempotency_key": "order-1042", "amount": 1250, "currency": "EUR"}]],
        ),
    ]


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one item gets: the payment, or the problem that stood against it."""

    status: Annotated[int, Meta(description="What a request of its own would have got.")]
    payment: PaymentAnswer | UnsetType = UNSET
    problem: ProblemAnswer | UnsetType = UNSET


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A result for each item, in the order of the items."""

    results: tuple[BatchResult, ...]


async def create(request: web.Request) -> web.Response:
    """`POST /v1/payments/batch`."""
    body = validation.parse(request[DOCUMENT], BatchBody)
    if isinstance(body, Refused):
        return respond(body, request)
    errors = tuple(_key_errors(body, request[CLAIM].key))
    if errors:
        return respond(validation.invalid(*errors), request)
    claim, world, now = request[CLAIM], request.app[WORLD], datetime.now(UTC)
    found = await drive(find_batch(claim), world)
    if found is not None:
        return _answered(found, request)
    items = tuple(_items(request, body))
    try:
        results = await _results(request, items, body.mode)
    except BaseException:
        # Whatever became of each of them: their client has got one 5xx for all.
        for item in items:
            request.app[METRICS].payment_ended("failed", item.request.money.currency)
        raise
    replies = [_reply(request, *both) for both in zip(items, results, strict=True)]
    for item, result, reply in zip(items, results, replies, strict=True):
        _count(request, item, result)
        if _is_final(result):
            await world.perform(RememberReply(item.claim, reply))
    shown = b'{"results":[' + b",".join(map(_shown, replies)) + b"]}"
    reply = StoredReply(claim.fingerprint, 200, shown)
    return _answered(await drive(keep_batch(claim, reply, now=now), world), request)


def _answered(result: Result, request: web.Request) -> web.Response:
    if isinstance(result, Refused):
        return respond(result, request)
    return reply_response(result.reply, replayed=result.replayed)


async def _results(
    request: web.Request, items: tuple[Item, ...], mode: BatchMode
) -> tuple[Result, ...]:
    tenant, rules = request[PRINCIPAL].tenant, request.app[RULES]
    world, now = request.app[WORLD], datetime.now(UTC)
    match mode:
        case BatchMode.INDEPENDENT:
            steps = [create_item(item, tenant=tenant, now=now, rules=rules) for item in items]
            return await _drive_all(steps, world)
        case BatchMode.ATOMIC:
            drafts = [prepare_item(item, tenant=tenant, now=now, rules=rules) for item in items]
            return await drive(commit_together(await _drive_all(drafts, world)), world)
        case _:
            assert_never(mode)


async def _drive_all(steps: Iterable[Step[T]], world: World) -> tuple[T, ...]:
    """Run steps side by side to their decisions, in order.

    Raises:
        Exception: What the first failing step raised; by then all others have ended.
    """
    slots = asyncio.Semaphore(_AT_ONCE_MAX)

    async def driven(step: Step[T]) -> T:
        async with slots:
            return await drive(step, world)

    ended = await asyncio.gather(*map(driven, steps), return_exceptions=True)
    for one in ended:
        if isinstance(one, BaseException):
            raise one
    return tuple(one for one in ended if not isinstance(one, BaseException))


def _key_errors(body: BatchBody, key_of_batch: str) -> Iterator[FieldError]:
    complaints = {key_of_batch: "Must not be the Idempotency-Key of the batch itself."}
    for position, item in enumerate(body.payments):
        complaint = complaints.get(item.idempotency_key)
        if complaint is not None:
            yield FieldError(f"#/payments/{position}/idempotency_key", complaint)
        complaints.setdefault(item.idempotency_key, "Must not be the key of an item before it.")


def _items(request: web.Request, body: BatchBody) -> Iterator[Item]:
    tenant_id = request[CLAIM].tenant_id
    document = cast("dict[str, list[dict[str, object]]]", request[DOCUMENT])
    for item, sent in zip(body.payments, document["payments"], strict=True):
        alone = {name: value for name, value in sent.items() if name != "idempotency_key"}
        asked_alone = fingerprint("POST", "/v1/payments", canonical(alone))
        yield Item(asked(item), Claim(tenant_id, item.idempotency_key, asked_alone), uuid7().int)


def _reply(request: web.Request, item: Item, result: Result) -> StoredReply:
    if isinstance(result, Settled):
        return result.reply
    status = PROBLEMS[result.code].status
    return StoredReply(item.claim.fingerprint, status, write(result, request))


def _is_final(result: Result) -> bool:
    """Whether a repetition of this item must get the same; what is a replay is known already."""
    if isinstance(result, Settled):
        return not result.replayed
    return PROBLEMS[result.code].stored


def _shown(reply: StoredReply) -> bytes:
    # The bytes of the single reply as they are: an item is replayed byte for byte as well.
    name = b"payment" if reply.status < _REFUSAL_STATUS_MIN else b"problem"
    return b'{"status":%d,"%b":%b}' % (reply.status, name, reply.body)


def _count(request: web.Request, item: Item, result: Result) -> None:
    metrics, currency = request.app[METRICS], item.request.money.currency
    if isinstance(result, Settled):
        is_manual = item.request.capture is CaptureMode.MANUAL
        made = "authorized" if is_manual else "captured"
        metrics.payment_ended("replayed" if result.replayed else made, currency)
    elif result.code is Code.FRAUD_REJECTED:
        metrics.payment_ended("fraud_rejected", currency)
        metrics.fraud_rejected(str(dict(result.members)["rule"]))
    else:
        metrics.payment_ended("refused", currency)
