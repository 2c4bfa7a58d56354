"""The books of the database in a few dicts, added up anew at every question.

Nobody seals here, so no entry of a statement has its final place: they stand by their instants.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from fluxpay.core.books import OpenAccount, Statement, StatementLine, Totals, TrialLine
from fluxpay.core.effects import (
    FindAccount,
    ListAccounts,
    ReadStatement,
    ReadTotals,
    ReadTrialBalance,
)
from fluxpay.core.ledger import Direction, Entry, Layer, Transfer, entries
from tests.simulation.database import Database

NAMES = {
    (layer, direction): f"{layer}_{direction}_minor" for layer in Layer for direction in Direction
}


@dataclass(frozen=True, slots=True)
class Booking:
    """A transfer, and the payment that it was made for."""

    transfer: Transfer
    payment_id: str | None


def find_account(database: Database, effect: FindAccount) -> OpenAccount | None:
    """One account of the tenant."""
    return _accounts(database, effect.tenant_id).get(effect.account_id)


def list_accounts(database: Database, effect: ListAccounts) -> tuple[OpenAccount, ...]:
    """The accounts that pass the filter, by id."""
    wanted, found = effect.filter, _accounts(database, effect.tenant_id)
    shown = (
        found[one_id]
        for one_id in sorted(found)
        if (effect.after is None or one_id > effect.after)
        and wanted.currency in (None, found[one_id].account.currency)
        and wanted.kind in (None, found[one_id].account.kind)
    )
    return tuple(shown)[: effect.limit]


def totals(database: Database, effect: ReadTotals) -> Mapping[str, Totals]:
    """What was booked on each account up to the instant."""
    found: dict[str, Totals] = {}
    for entry in _entries(database, effect.tenant_id, effect.at):
        if entry.account_id in effect.account_ids:
            found[entry.account_id] = _with(found.get(entry.account_id, Totals()), entry)
    return found


def trial_balance(database: Database, effect: ReadTrialBalance) -> tuple[TrialLine, ...]:
    """What was booked in each currency up to the instant."""
    found: dict[str, Totals] = {}
    for entry in _entries(database, effect.tenant_id, effect.at):
        currency = entry.money.currency
        found[currency] = _with(found.get(currency, Totals()), entry)
    return tuple(TrialLine(currency, found[currency]) for currency in sorted(found))


def statement(database: Database, effect: ReadStatement) -> Statement | None:
    """The entries of an account that follow a place."""
    opened = _accounts(database, effect.tenant_id).get(effect.account_id)
    if opened is None:
        return None
    lines: list[StatementLine] = []
    running = Totals()
    for one in _bookings(database, effect.tenant_id):
        for entry in entries(one.transfer):
            if entry.account_id != effect.account_id:
                continue
            running, transfer = _with(running, entry), one.transfer
            line = StatementLine(
                entry, transfer.id, one.payment_id, transfer.kind, running, seq=None
            )
            lines.append(line)
    ids = [line.transfer_id for line in lines]
    if effect.after.transfer_id in ids:
        lines = lines[ids.index(effect.after.transfer_id) + 1 :]
    return Statement(opened.account, tuple(lines[: effect.limit]))


def _with(before: Totals, entry: Entry) -> Totals:
    name = NAMES[entry.layer, entry.direction]
    return replace(before, **{name: getattr(before, name) + entry.money.amount_minor})


def _entries(database: Database, tenant_id: str, until: datetime | None) -> Iterator[Entry]:
    for one in _bookings(database, tenant_id):
        if until is None or one.transfer.created_at <= until:
            yield from entries(one.transfer)


def _accounts(database: Database, tenant_id: str) -> Mapping[str, OpenAccount]:
    """The tenant's accounts by id: those that were used, then those that were opened or ruled."""
    found: dict[str, OpenAccount] = {}
    for one in _bookings(database, tenant_id):
        for account in (one.transfer.debit, one.transfer.credit):
            used = OpenAccount(account, no_overdraft=False, created_at=one.transfer.created_at)
            found.setdefault(account.id, used)
    own = {place[1]: one for place, one in database.accounts.items() if place[0] == tenant_id}
    return found | own


def _bookings(database: Database, tenant_id: str) -> list[Booking]:
    """All transfers of the tenant, by instant and id."""
    made = [
        Booking(one, payment_id)
        for (owner_id, payment_id), transfers in database.transfers.items()
        if owner_id == tenant_id
        for one in transfers
    ]
    made += [
        Booking(one.transfer, one.payment_id)
        for (owner_id, _), one in database.booked.items()
        if owner_id == tenant_id
    ]
    return sorted(made, key=lambda one: (one.transfer.created_at, one.transfer.id))
