"""The transfer routes: moving money between accounts, reading a transfer, opening accounts.

Whoever may take payments may also move what they brought in: these routes want
`payments:write`, and reading a transfer wants `ledger:read`. What belongs to another tenant is
not found, and neither is an id that cannot be one. Must not know SQL or gates.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from uuid_utils import uuid7

from fluxpay.core import transfers
from fluxpay.core.effects import FindTransfer
from fluxpay.core.ids import IdKind, is_id
from fluxpay.core.ledger import AccountKind
from fluxpay.core.money import Money
from fluxpay.core.problems import Code, Refused
from fluxpay.core.transfers import TransferRequest
from fluxpay.web import validation
from fluxpay.web.answers import answer, ask
from fluxpay.web.context import CLAIM, DOCUMENT, PRINCIPAL, WORLD
from fluxpay.web.driver import drive
from fluxpay.web.idempotency import reply_response
from fluxpay.web.problems import respond
from fluxpay.web.transfer_bodies import AccountBody, AccountRuleBody, TransferBody

if TYPE_CHECKING:
    from aiohttp import web

    from fluxpay.core.effects import Step
    from fluxpay.core.idempotency import Settled


async def create(request: web.Request) -> web.Response:
    """`POST /v1/transfers`."""
    body = validation.parse(request[DOCUMENT], TransferBody)
    if isinstance(body, Refused):
        return respond(body, request)
    wanted = TransferRequest(
        debit_account_id=body.debit_account_id,
        credit_account_id=body.credit_account_id,
        money=Money(body.amount, body.currency.value),
        description=body.description,
    )
    step = transfers.post_transfer(
        wanted, claim=request[CLAIM], uuid=uuid7().int, now=datetime.now(UTC)
    )
    return await _settle(request, step)


async def show(request: web.Request) -> web.Response:
    """`GET /v1/transfers/{transfer_id}`."""
    transfer_id = request.match_info["transfer_id"]
    found = None
    if is_id(IdKind.TRANSFER, transfer_id):
        found = await ask(request, FindTransfer(request[PRINCIPAL].tenant.id, transfer_id))
    if found is None:
        return respond(Refused(Code.NOT_FOUND, "There is no such transfer."), request)
    return answer(transfers.document(found))


async def open_account(request: web.Request) -> web.Response:
    """`POST /v1/accounts`."""
    body = validation.parse(request[DOCUMENT], AccountBody)
    if isinstance(body, Refused):
        return respond(body, request)
    step = transfers.open_account(
        AccountKind(body.kind),
        body.currency.value,
        no_overdraft=body.no_overdraft,
        claim=request[CLAIM],
        now=datetime.now(UTC),
    )
    return await _settle(request, step)


async def set_no_overdraft(request: web.Request) -> web.Response:
    """`POST /v1/accounts/{account_id}`."""
    body = validation.parse(request[DOCUMENT], AccountRuleBody)
    if isinstance(body, Refused):
        return respond(body, request)
    account_id = request.match_info["account_id"]
    if not is_id(IdKind.ACCOUNT, account_id):
        return respond(transfers.NO_SUCH_ACCOUNT, request)
    step = transfers.set_no_overdraft(
        account_id,
        no_overdraft=body.no_overdraft,
        claim=request[CLAIM],
        now=datetime.now(UTC),
    )
    return await _settle(request, step)


async def _settle(request: web.Request, step: Step[Settled | Refused]) -> web.Response:
    outcome = await drive(step, request.app[WORLD])
    if isinstance(outcome, Refused):
        return respond(outcome, request)
    return reply_response(outcome.reply, replayed=outcome.replayed)
