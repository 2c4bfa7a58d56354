"""The routes that read the books: accounts, balances, statements and the trial balance.

What belongs to another tenant is not found, and neither is an id that cannot be one: the two must
look the same. Must not know SQL, nor which side of an account is its own.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from fluxpay.core import books
from fluxpay.core.books import AccountFilter, Place
from fluxpay.core.effects import FindAccount, ListAccounts, ReadTrialBalance
from fluxpay.core.ids import IdKind, is_id
from fluxpay.core.payments import instant
from fluxpay.core.problems import Code, Refused
from fluxpay.core.transfers import account_document
from fluxpay.web import cursors, validation
from fluxpay.web.answers import answer, ask
from fluxpay.web.bodies import in_utc
from fluxpay.web.context import PRINCIPAL, WORLD
from fluxpay.web.driver import drive
from fluxpay.web.ledger_bodies import AccountQuery, InstantQuery, StatementQuery
from fluxpay.web.problems import respond

if TYPE_CHECKING:
    from aiohttp import web

    from fluxpay.core.books import StatementLine, TrialLine
    from fluxpay.core.ledger import AccountKind

# The place in a statement as a cursor holds it: a number that fits any database, and perhaps an id.
_PLACE: Final = re.compile(r"(0|[1-9][0-9]{0,17})(?:\.(.+))?", re.ASCII)


async def page(request: web.Request) -> web.Response:
    """`GET /v1/accounts`."""
    query = validation.parse_query(request.query, AccountQuery)
    if isinstance(query, Refused):
        return respond(query, request)
    after = None if query.cursor is None else cursors.decode(query.cursor, IdKind.ACCOUNT)
    if query.cursor is not None and after is None:
        return respond(cursors.refusal(), request)
    currency = None if query.currency is None else query.currency.value
    wanted = AccountFilter(currency=currency, kind=query.kind)
    # One more than the page holds is asked for: its presence tells that there is a next page.
    found = await ask(request, ListAccounts(_tenant_id(request), wanted, after, query.limit + 1))
    shown = found[: query.limit]
    return cursors.page(
        request,
        data=[account_document(opened) for opened in shown],
        last_id=shown[-1].account.id if len(found) > len(shown) else None,
    )


async def show(request: web.Request) -> web.Response:
    """`GET /v1/accounts/{account_id}`."""
    account_id = request.match_info["account_id"]
    found = None
    if is_id(IdKind.ACCOUNT, account_id):
        found = await ask(request, FindAccount(_tenant_id(request), account_id))
    if found is None:
        return respond(_no_such_account(), request)
    return answer(account_document(found))


async def balance(request: web.Request) -> web.Response:
    """`GET /v1/accounts/{account_id}/balance`."""
    query = validation.parse_query(request.query, InstantQuery)
    if isinstance(query, Refused):
        return respond(query, request)
    account_id, now, found = request.match_info["account_id"], datetime.now(UTC), None
    if is_id(IdKind.ACCOUNT, account_id):
        step = books.read_balance(_tenant_id(request), account_id, at=in_utc(query.at))
        found = await drive(step, request.app[WORLD])
    if found is None:
        return respond(_no_such_account(), request)
    return answer(
        {
            "account_id": found.account.id,
            "object": "balance",
            "currency": found.account.currency,
            "posted": found.balance.posted_minor,
            "pending": found.balance.pending_minor,
            "available": found.balance.available_minor,
            "at": _asked_instant(query, now),
        }
    )


async def statement(request: web.Request) -> web.Response:
    """`GET /v1/accounts/{account_id}/entries`."""
    query = validation.parse_query(request.query, StatementQuery)
    if isinstance(query, Refused):
        return respond(query, request)
    after = Place() if query.cursor is None else _place(query.cursor)
    if after is None:
        return respond(cursors.refusal(), request)
    account_id, found = request.match_info["account_id"], None
    if is_id(IdKind.ACCOUNT, account_id):
        step = books.read_statement(_tenant_id(request), account_id, after=after, limit=query.limit)
        found = await drive(step, request.app[WORLD])
    if found is None:
        return respond(_no_such_account(), request)
    kind = found.statement.account.kind
    return cursors.page(
        request,
        data=[_entry_document(line, kind) for line in found.statement.lines],
        last_id=None if found.following is None else _word(found.following),
        members={"resume_cursor": cursors.encode(_word(found.resume))},
    )


async def trial_balance(request: web.Request) -> web.Response:
    """`GET /v1/trial-balance`."""
    query = validation.parse_query(request.query, InstantQuery)
    if isinstance(query, Refused):
        return respond(query, request)
    now = datetime.now(UTC)
    found = await ask(request, ReadTrialBalance(_tenant_id(request), in_utc(query.at)))
    return answer(
        {
            "object": "trial_balance",
            "at": _asked_instant(query, now),
            "currencies": [_trial_document(line) for line in found],
        }
    )


def _asked_instant(query: InstantQuery, now: datetime) -> str:
    return instant(in_utc(query.at) or now)


def _place(cursor: str) -> Place | None:
    """Read the place that a cursor names; None when it is no cursor of ours."""
    word = cursors.decode_word(cursor)
    found = None if word is None else _PLACE.fullmatch(word)
    if found is None:
        return None
    seq, transfer_id = found.groups()
    if transfer_id is not None and not is_id(IdKind.TRANSFER, transfer_id):
        return None
    return Place(int(seq), transfer_id)


def _word(place: Place) -> str:
    return str(place.seq) if place.transfer_id is None else f"{place.seq}.{place.transfer_id}"


def _entry_document(line: StatementLine, kind: AccountKind) -> dict[str, object]:
    entry, running = line.entry, books.balance(line.totals, kind)
    return {
        "id": entry.id,
        "transfer_id": line.transfer_id,
        "payment_id": line.payment_id,
        "kind": line.kind,
        "account_id": entry.account_id,
        "direction": entry.direction,
        "layer": entry.layer,
        "amount": entry.money.amount_minor,
        "currency": entry.money.currency,
        "created_at": instant(entry.created_at),
        "balance": {"posted": running.posted_minor, "pending": running.pending_minor},
    }


def _trial_document(line: TrialLine) -> dict[str, object]:
    return {
        "currency": line.currency,
        "debits": line.totals.posted_debit_minor,
        "credits": line.totals.posted_credit_minor,
        "pending_debits": line.totals.pending_debit_minor,
        "pending_credits": line.totals.pending_credit_minor,
    }


def _tenant_id(request: web.Request) -> str:
    return request[PRINCIPAL].tenant.id


def _no_such_account() -> Refused:
    return Refused(Code.NOT_FOUND, "There is no such account.")
