"""The books as one reads them: totals, balances, statements and the trial balance.

Knows which side of an account is its own, and how a statement is read in pages while it grows.
Must not know how totals are found, nor how a page is written down. What may be posted stands in
`ledger`.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from fluxpay.core.effects import FindAccount, ReadStatement, ReadTotals
from fluxpay.core.ledger import AccountKind, Direction

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from fluxpay.core.effects import Step
    from fluxpay.core.ledger import Account, Entry, TransferKind

SIDE: Final[Mapping[AccountKind, Direction]] = MappingProxyType(
    {
        AccountKind.MERCHANT: Direction.CREDIT,
        AccountKind.PLATFORM: Direction.DEBIT,
        AccountKind.RESERVE: Direction.CREDIT,
        AccountKind.PAYOUT: Direction.CREDIT,
    }
)
"""The normal side of an account: what is booked there makes its balance grow."""


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """An account as it stands in the books.

    Args:
        no_overdraft: Whether a transfer that would take it below zero is refused.
    """

    account: Account
    no_overdraft: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AccountFilter:
    """Which accounts a list shows; None leaves a property open."""

    currency: str | None = None
    kind: AccountKind | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """All that was ever booked on an account, by layer and side, in minor units."""

    posted_debit_minor: int = 0
    posted_credit_minor: int = 0
    pending_debit_minor: int = 0
    pending_credit_minor: int = 0


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account holds, in minor units; negative where its other side weighs more."""

    posted_minor: int
    pending_minor: int

    @property
    def available_minor(self) -> int:
        """What can be counted on: what is set aside to come in does not count, to go out does."""
        return self.posted_minor + min(0, self.pending_minor)


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """The balance of an account, together with the account."""

    account: Account
    balance: Balance


@dataclass(frozen=True, slots=True)
class TrialLine:
    """The totals of all accounts of one currency: debits and credits come to the same."""

    currency: str
    totals: Totals


@dataclass(frozen=True, slots=True)
class StatementLine:
    """An entry of an account, and the totals of the account with it.

    Args:
        seq: Its place in the statement; None while an entry may still come before it.
    """

    entry: Entry
    transfer_id: str
    payment_id: str | None
    kind: TransferKind
    totals: Totals
    seq: int | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where the reading of a statement goes on.

    Args:
        seq: After this entry of those whose place is final.
        transfer_id: If nothing more has become final meanwhile, after the entry of this transfer
            among those that have no place yet.
    """

    seq: int = 0
    transfer_id: str | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """A part of an account's statement, oldest first."""

    account: Account
    lines: tuple[StatementLine, ...]


@dataclass(frozen=True, slots=True)
class StatementPage:
    """A page of a statement.

    Args:
        following: Where the next page begins; None when this is the last one.
        resume: Where to go on at a later time so that no entry is ever missed: after the last
            one whose place is final. What follows it is shown again, in its final place.
    """

    statement: Statement
    following: Place | None
    resume: Place


def balance(totals: Totals, kind: AccountKind) -> Balance:
    """What these totals come to on an account of this kind."""
    sign = 1 if SIDE[kind] is Direction.CREDIT else -1
    return Balance(
        posted_minor=sign * (totals.posted_credit_minor - totals.posted_debit_minor),
        pending_minor=sign * (totals.pending_credit_minor - totals.pending_debit_minor),
    )


def read_balance(
    tenant_id: str, account_id: str, *, at: datetime | None
) -> Step[AccountBalance | None]:
    """The balance of an account at an instant, or now; None when the tenant has no such account."""
    found = yield from FindAccount(tenant_id, account_id)
    if found is None:
        return None
    # What an account is never changes, so that it was read a moment before its totals is no harm.
    totals = yield from ReadTotals(tenant_id, (account_id,), at)
    account = found.account
    return AccountBalance(account, balance(totals.get(account_id, Totals()), account.kind))


def read_statement(
    tenant_id: str, account_id: str, *, after: Place, limit: int
) -> Step[StatementPage | None]:
    """A page of an account's statement; None when the tenant has no such account.

    Args:
        after: Where the page begins.
        limit: The most entries that it shows.
    """
    # One more than the page holds is asked for: its presence tells that there is a next page.
    found = yield from ReadStatement(tenant_id, account_id, after, limit + 1)
    if found is None:
        return None
    shown = found.lines[:limit]
    final = [line.seq for line in shown if line.seq is not None]
    resume = Place(final[-1] if final else after.seq)
    following = None
    if len(found.lines) > len(shown):
        last = shown[-1]
        following = resume if last.seq is not None else Place(resume.seq, last.transfer_id)
    return StatementPage(Statement(found.account, shown), following, resume)
