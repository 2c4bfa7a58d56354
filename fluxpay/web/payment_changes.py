"""The routes that change a payment: capture, void and refund, and the list of its refunds.

A handler turns a request into a command to the core and its decision into a response. The body is
judged before the id, for every id alike: so an answer never tells whether a payment that is not
the caller's exists. Must not know lifecycles, SQL or gates.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from uuid_utils import uuid7

from fluxpay.core.effects import ListRefunds
from fluxpay.core.ids import IdKind, is_id
from fluxpay.core.payment_changes import Command, change_payment
from fluxpay.core.payments import Action, refund_document
from fluxpay.core.problems import Refused
from fluxpay.web import cursors, validation
from fluxpay.web.answers import ask
from fluxpay.web.bodies import CaptureBody, RefundBody, VoidBody
from fluxpay.web.context import CLAIM, DOCUMENT, PRINCIPAL, WORLD
from fluxpay.web.driver import drive
from fluxpay.web.idempotency import reply_response
from fluxpay.web.payments import no_such_payment
from fluxpay.web.problems import respond

if TYPE_CHECKING:
    from aiohttp import web


async def capture(request: web.Request) -> web.Response:
    """`POST /v1/payments/{payment_id}/capture`."""
    body = validation.parse(request[DOCUMENT], CaptureBody)
    if isinstance(body, Refused):
        return respond(body, request)
    return await _change(request, Command(Action.CAPTURE, body.amount))


async def void(request: web.Request) -> web.Response:
    """`POST /v1/payments/{payment_id}/void`."""
    body = validation.parse(request[DOCUMENT], VoidBody)
    if isinstance(body, Refused):
        return respond(body, request)
    return await _change(request, Command(Action.VOID))


async def refund(request: web.Request) -> web.Response:
    """`POST /v1/payments/{payment_id}/refunds`."""
    body = validation.parse(request[DOCUMENT], RefundBody)
    if isinstance(body, Refused):
        return respond(body, request)
    return await _change(request, Command(Action.REFUND, body.amount, body.reason))


async def refunds(request: web.Request) -> web.Response:
    """`GET /v1/payments/{payment_id}/refunds`."""
    payment_id = request.match_info["payment_id"]
    if not is_id(IdKind.PAYMENT, payment_id):
        return respond(no_such_payment(), request)
    found = await ask(request, ListRefunds(request[PRINCIPAL].tenant.id, payment_id))
    if found is None:
        return respond(no_such_payment(), request)
    return cursors.page(request, data=[refund_document(one) for one in found], last_id=None)


async def _change(request: web.Request, command: Command) -> web.Response:
    payment_id = request.match_info["payment_id"]
    if not is_id(IdKind.PAYMENT, payment_id):
        return respond(no_such_payment(), request)
    step = change_payment(
        payment_id, command, claim=request[CLAIM], uuid=uuid7().int, now=datetime.now(UTC)
    )
    outcome = await drive(step, request.app[WORLD])
    if isinstance(outcome, Refused):
        return respond(outcome, request)
    reply = outcome.reply
    if reply.status == HTTPStatus.CREATED:
        # Not kept with the reply: the path, which the claim covers, says it each time.
        reply = replace(reply, location=f"/v1/payments/{payment_id}/refunds")
    return reply_response(reply, replayed=outcome.replayed)
