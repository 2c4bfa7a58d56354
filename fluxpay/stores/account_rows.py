"""How accounts and their totals look as rows. Knows columns and core nouns only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fluxpay.core.books import OpenAccount, Totals
from fluxpay.core.ledger import Account, AccountKind
from fluxpay.stores.payment_rows import instant

if TYPE_CHECKING:
    from collections.abc import Sequence

ACCOUNT_COLUMNS: Final = "id, tenant_id, kind, currency, no_overdraft, created_at"


def account(row: tuple[Any, ...]) -> OpenAccount:
    """Read a row of `ACCOUNT_COLUMNS`."""
    account_id, tenant_id, kind, currency, no_overdraft, created_at = row
    return OpenAccount(
        Account(account_id, tenant_id, AccountKind(kind), currency),
        no_overdraft,
        instant(created_at),
    )


def totals(row: Sequence[Any]) -> Totals:
    """Read the four sums of a row of `account_totals`, in its order.

    Sums arrive as decimals, since they may outgrow any integer of Postgres.
    """
    posted_debit, posted_credit, pending_debit, pending_credit = map(int, row)
    return Totals(posted_debit, posted_credit, pending_debit, pending_credit)
