"""The payment routes: making a payment, reading one, listing them, and the entries of one.

A handler turns a request into a question to the core or the world, and the decision into a
response; it decides nothing itself. What belongs to another tenant is not found, and neither is
an id that cannot be one: the two must look the same. Must not know SQL or gates.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from uuid_utils import uuid7

from fluxpay.core.effects import FindPayment, ListPaymentEntries, ListPayments
from fluxpay.core.ids import IdKind, is_id
from fluxpay.core.money import Money
from fluxpay.core.payment_creation import create_payment
from fluxpay.core.payments import CaptureMode, PaymentFilter, PaymentRequest, document, instant
from fluxpay.core.problems import Code, Refused
from fluxpay.web import cursors, validation
from fluxpay.web.answers import answer, ask
from fluxpay.web.bodies import PaymentBody, PaymentQuery, in_utc
from fluxpay.web.context import CLAIM, DOCUMENT, PRINCIPAL, RULES, WORLD
from fluxpay.web.driver import drive
from fluxpay.web.idempotency import reply_response
from fluxpay.web.problems import respond

if TYPE_CHECKING:
    from aiohttp import web

    from fluxpay.core.ledger import Entry


async def create(request: web.Request) -> web.Response:
    """`POST /v1/payments`."""
    body = validation.parse(request[DOCUMENT], PaymentBody)
    if isinstance(body, Refused):
        return respond(body, request)
    step = create_payment(
        asked(body),
        tenant=request[PRINCIPAL].tenant,
        claim=request[CLAIM],
        uuid=uuid7().int,
        now=datetime.now(UTC),
        rules=request.app[RULES],
    )
    outcome = await drive(step, request.app[WORLD])
    if isinstance(outcome, Refused):
        return respond(outcome, request)
    return reply_response(outcome.reply, replayed=outcome.replayed)


async def show(request: web.Request) -> web.Response:
    """`GET /v1/payments/{payment_id}`."""
    payment_id = request.match_info["payment_id"]
    if not is_id(IdKind.PAYMENT, payment_id):
        return respond(no_such_payment(), request)
    found = await ask(request, FindPayment(_tenant_id(request), payment_id))
    return respond(no_such_payment(), request) if found is None else answer(document(found))


async def page(request: web.Request) -> web.Response:
    """`GET /v1/payments`."""
    query = validation.parse_query(request.query, PaymentQuery)
    if isinstance(query, Refused):
        return respond(query, request)
    after = None if query.cursor is None else cursors.decode(query.cursor, IdKind.PAYMENT)
    if query.cursor is not None and after is None:
        return respond(cursors.refusal(), request)
    # One more than the page holds is asked for: its presence tells that there is a next page.
    question = ListPayments(_tenant_id(request), _filter(query), after, query.limit + 1)
    found = await ask(request, question)
    shown = found[: query.limit]
    return cursors.page(
        request,
        data=[document(payment) for payment in shown],
        last_id=shown[-1].id if len(found) > len(shown) else None,
    )


async def entries(request: web.Request) -> web.Response:
    """`GET /v1/payments/{payment_id}/entries`."""
    payment_id = request.match_info["payment_id"]
    if not is_id(IdKind.PAYMENT, payment_id):
        return respond(no_such_payment(), request)
    found = await ask(request, ListPaymentEntries(_tenant_id(request), payment_id))
    if found is None:
        return respond(no_such_payment(), request)
    return cursors.page(request, data=[_entry_document(entry) for entry in found], last_id=None)


def asked(body: PaymentBody) -> PaymentRequest:
    """What a body asks for, in the core's words."""
    return PaymentRequest(
        money=Money(body.amount, body.currency.value),
        capture=body.capture or CaptureMode.AUTOMATIC,
        description=body.description,
        reference=body.reference,
        metadata=body.metadata or {},
    )


def no_such_payment() -> Refused:
    """The one refusal for ids that are unknown, malformed or another tenant's."""
    return Refused(Code.NOT_FOUND, "There is no such payment.")


def _filter(query: PaymentQuery) -> PaymentFilter:
    return PaymentFilter(
        status=query.status,
        currency=None if query.currency is None else query.currency.value,
        reference=query.reference,
        created_gte=in_utc(query.created_gte),
        created_lt=in_utc(query.created_lt),
    )


def _entry_document(entry: Entry) -> dict[str, object]:
    return {
        "id": entry.id,
        "account_id": entry.account_id,
        "direction": entry.direction,
        "amount": entry.money.amount_minor,
        "currency": entry.money.currency,
        "created_at": instant(entry.created_at),
        "layer": entry.layer,
    }


def _tenant_id(request: web.Request) -> str:
    return request[PRINCIPAL].tenant.id
