"""Reading the books: accounts, their totals at an instant, their statements, the trial balance.

Each answer is read by one statement, hence in one snapshot: the worker that seals meanwhile can
neither double an entry nor hide one. Knows rows and where sealed ends and the tail begins; must
not know which side of an account is its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fluxpay.core.books import Statement, StatementLine, TrialLine
from fluxpay.core.ledger import Account, AccountKind, Direction, Entry, Layer, TransferKind
from fluxpay.core.money import Money
from fluxpay.stores import account_rows
from fluxpay.stores.payment_rows import instant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fluxpay.core.books import OpenAccount, Totals
    from fluxpay.core.effects import (
        FindAccount,
        ListAccounts,
        ReadStatement,
        ReadTotals,
        ReadTrialBalance,
    )
    from fluxpay.stores.pool import Pool

_AS_TENANT: Final = "SELECT set_config('fluxpay.tenant', %(tenant)s, true);\n"
_ACCOUNTS: Final = "SELECT " + account_rows.ACCOUNT_COLUMNS + " FROM accounts WHERE"  # noqa: S608 - our own column names
_TOTALS: Final = "SELECT * FROM account_totals(%(accounts)s::text[], %(at)s::timestamptz)"
_TRIAL_BALANCE: Final = """
    SELECT a.currency, sum(t.posted_debit), sum(t.posted_credit), sum(t.pending_debit),
           sum(t.pending_credit)
    FROM account_totals(
        ARRAY(SELECT id FROM accounts WHERE tenant_id = %(tenant)s), %(at)s::timestamptz
    ) AS t
    JOIN accounts a ON a.tenant_id = %(tenant)s AND a.id = t.account_id
    GROUP BY a.currency ORDER BY a.currency
"""
# The tail is looked at only where the sealed part leaves room on the page. Its running totals go
# on from the last sealed ones, also where a page begins in the middle of it.
_STATEMENT: Final = """
    WITH sealed AS MATERIALIZED (
        SELECT transfer_id, direction, layer, kind, payment_id, amount, currency, created_at, seq,
               posted_debit, posted_credit, pending_debit, pending_credit
        FROM account_entries
        WHERE tenant_id = %(tenant)s AND account_id = %(account)s AND seq > %(seq)s
        ORDER BY seq LIMIT %(limit)s
    ), last AS (
        SELECT posted_debit, posted_credit, pending_debit, pending_credit FROM account_entries
        WHERE tenant_id = %(tenant)s AND account_id = %(account)s ORDER BY seq DESC LIMIT 1
    ), tail AS MATERIALIZED (
        SELECT u.transfer_id, u.direction, u.layer, u.kind, u.payment_id, u.amount, u.currency,
               u.created_at, NULL::bigint AS seq,
               coalesce(last.posted_debit, 0) + coalesce(sum(u.amount) FILTER (
                   WHERE u.layer = 'posted' AND u.direction = 'debit') OVER entry, 0),
               coalesce(last.posted_credit, 0) + coalesce(sum(u.amount) FILTER (
                   WHERE u.layer = 'posted' AND u.direction = 'credit') OVER entry, 0),
               coalesce(last.pending_debit, 0) + coalesce(sum(u.amount) FILTER (
                   WHERE u.layer = 'pending' AND u.direction = 'debit') OVER entry, 0),
               coalesce(last.pending_credit, 0) + coalesce(sum(u.amount) FILTER (
                   WHERE u.layer = 'pending' AND u.direction = 'credit') OVER entry, 0)
        FROM unsealed_entries(ARRAY[%(account)s]) AS u LEFT JOIN last ON true
        WHERE (SELECT count(*) FROM sealed) < %(limit)s
        WINDOW entry AS (
            ORDER BY u.created_at, u.transfer_id COLLATE "C" ROWS UNBOUNDED PRECEDING
        )
    ), line AS (
        SELECT * FROM sealed
        UNION ALL
        SELECT * FROM tail
        -- A place within the tail counts while that tail is still the one it was taken from.
        WHERE EXISTS (SELECT FROM sealed)
           OR NOT EXISTS (SELECT FROM tail AS here WHERE here.transfer_id = %(unsealed)s)
           OR (created_at, transfer_id COLLATE "C") > (
                  SELECT here.created_at, here.transfer_id FROM tail AS here
                  WHERE here.transfer_id = %(unsealed)s
              )
    )
    SELECT a.kind, a.currency, line.* FROM accounts a LEFT JOIN line ON true
    WHERE a.tenant_id = %(tenant)s AND a.id = %(account)s
    ORDER BY line.seq NULLS LAST, line.created_at, line.transfer_id COLLATE "C" LIMIT %(limit)s
"""


class Books:
    """The books of one tenant at a time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find_account(self, effect: FindAccount) -> OpenAccount | None:
        """Read one account."""
        sql = f"{_ACCOUNTS} tenant_id = %(tenant)s AND id = %(account)s"
        rows = await self._read(effect.tenant_id, sql, {"account": effect.account_id})
        return account_rows.account(rows[0]) if rows else None

    async def list_accounts(self, effect: ListAccounts) -> tuple[OpenAccount, ...]:
        """Read a page of accounts, by id."""
        wanted = effect.filter
        # A tenant has a few hundred accounts at the most, so the filters need no index.
        sql = f"""{_ACCOUNTS} tenant_id = %(tenant)s AND id > %(after)s
            AND currency = coalesce(%(currency)s, currency) AND kind = coalesce(%(kind)s, kind)
            ORDER BY id LIMIT %(limit)s"""
        parameters = {
            "after": effect.after or "",
            "currency": wanted.currency,
            "kind": None if wanted.kind is None else str(wanted.kind),
            "limit": effect.limit,
        }
        rows = await self._read(effect.tenant_id, sql, parameters)
        return tuple(account_rows.account(row) for row in rows)

    async def totals(self, effect: ReadTotals) -> dict[str, Totals]:
        """Read the totals of accounts, all at one instant."""
        parameters = {"accounts": list(effect.account_ids), "at": effect.at}
        rows = await self._read(effect.tenant_id, _TOTALS, parameters)
        return {account_id: account_rows.totals(totals) for account_id, *totals in rows}

    async def trial_balance(self, effect: ReadTrialBalance) -> tuple[TrialLine, ...]:
        """Read the totals of all accounts by currency, all at one instant."""
        rows = await self._read(effect.tenant_id, _TRIAL_BALANCE, {"at": effect.at})
        return tuple(TrialLine(currency, account_rows.totals(totals)) for currency, *totals in rows)

    async def statement(self, effect: ReadStatement) -> Statement | None:
        """Read a part of a statement."""
        parameters = {
            "account": effect.account_id,
            "seq": effect.after.seq,
            "unsealed": effect.after.transfer_id,
            "limit": effect.limit,
        }
        rows = await self._read(effect.tenant_id, _STATEMENT, parameters)
        if not rows:
            return None
        kind, currency, *_ = rows[0]
        account = Account(effect.account_id, effect.tenant_id, AccountKind(kind), currency)
        lines = (_line(effect.account_id, line) for _, _, *line in rows if line[0] is not None)
        return Statement(account, tuple(lines))

    async def _read(
        self, tenant_id: str, sql: str, parameters: Mapping[str, object]
    ) -> Sequence[tuple[Any, ...]]:
        async with self._pool.connection() as connection:
            return await connection.fetch_all(_AS_TENANT + sql, {"tenant": tenant_id, **parameters})


def _line(account_id: str, row: Sequence[Any]) -> StatementLine:
    transfer_id, direction, layer, kind, payment_id, amount, currency, created_at, seq = row[:9]
    return StatementLine(
        entry=Entry(
            id=f"{transfer_id}_{direction}",
            account_id=account_id,
            direction=Direction(direction),
            money=Money(amount, currency),
            created_at=instant(created_at),
            layer=Layer(layer),
        ),
        transfer_id=transfer_id,
        payment_id=payment_id,
        kind=TransferKind(kind),
        totals=account_rows.totals(row[9:]),
        seq=seq,
    )
