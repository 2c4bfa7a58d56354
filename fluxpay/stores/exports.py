"""The rows that `fluxpay export` writes: entries of a period, and balances at an instant.

A period is half open: it has its first instant and not its last, so that the next period begins
with it. Balances at an instant are those before anything that happened at it; so the balances at
the start, the entries of the period and the balances at the end add up.

Knows tables and columns; must not know formats. No column holds words of a client's.
"""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Final

from fluxpay.core.books import Totals, balance
from fluxpay.core.ledger import AccountKind
from fluxpay.core.payments import instant
from fluxpay.stores import payment_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from fluxpay.stores.snapshots import Snapshot

ENTRY_COLUMNS: Final = (
    *("id", "transfer_id", "payment_id", "account_id", "direction", "layer", "kind", "amount"),
    *("currency", "created_at"),
)
BALANCE_COLUMNS: Final = (
    *("account_id", "kind", "currency", "posted", "pending", "available", "posted_debit"),
    *("posted_credit", "pending_debit", "pending_credit"),
)
Row = tuple[str | int | None, ...]

_ENTRIES: Final = f"""
    SELECT {", ".join(ENTRY_COLUMNS)} FROM ledger_entries
    WHERE tenant_id = %(tenant)s
      AND created_at >= coalesce(%(since)s, '-infinity'::timestamptz)
      AND created_at < coalesce(%(until)s, 'infinity'::timestamptz)
    ORDER BY created_at, id
"""  # noqa: S608 - our own column names
_BALANCES: Final = """
    SELECT a.id, a.kind, a.currency, coalesce(told.posted_debit, 0),
           coalesce(told.posted_credit, 0), coalesce(told.pending_debit, 0),
           coalesce(told.pending_credit, 0)
    FROM accounts a
    LEFT JOIN account_totals(
        ARRAY(SELECT id FROM accounts WHERE tenant_id = %(tenant)s),
        -- No instant lies between; that function counts what happened at its own.
        %(until)s::timestamptz - interval '1 microsecond'
    ) AS told ON told.account_id = a.id
    WHERE a.tenant_id = %(tenant)s
    ORDER BY a.id
"""


def entries(snapshot: Snapshot, *, since: datetime | None, until: datetime | None) -> Iterator[Row]:
    """The entries of a period, oldest first; None leaves an end open."""
    for *columns, created_at in snapshot.stream(_ENTRIES, {"since": since, "until": until}):
        yield (*columns, instant(payment_rows.instant(created_at)))


def balances(snapshot: Snapshot, *, until: datetime | None) -> Iterator[Row]:
    """What each account held before an instant, or (None) holds now."""
    for account_id, kind, currency, *sums in snapshot.stream(_BALANCES, {"until": until}):
        totals = Totals(*(int(one) for one in sums))
        held = balance(totals, AccountKind(kind))
        nets = (held.posted_minor, held.pending_minor, held.available_minor)
        yield (account_id, kind, currency, *nets, *astuple(totals))
