"""Sessions that write the ledger by hand, so that a test can choose who commits when.

They write as the database's owner: the service's own way commits at once, and in its own order.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psycopg2
from psycopg2 import extensions

from fluxpay.core.books import Totals
from fluxpay.core.ids import IdKind, encode
from fluxpay.core.ledger import Account, AccountKind, account
from tests.conftest import Database
from tests.contracts.law import new_id

EPOCH = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
SECONDS = 6
"""Entries lie within so many seconds, so that some share one."""
_SPREAD = 0x9E37_79B9_7F4A_7C15
KINDS = (AccountKind.MERCHANT, AccountKind.PLATFORM, AccountKind.RESERVE)


def instant(second: int) -> datetime:
    return EPOCH + timedelta(seconds=second)


@dataclass(slots=True)
class Ledger:
    """One tenant's ledger, several sessions that write it, and one that seals it."""

    owner: extensions.connection
    sessions: tuple[extensions.connection, ...]
    tenant_id: str = field(default_factory=lambda: new_id(IdKind.TENANT))
    accounts: tuple[Account, ...] = ()
    written: int = 0

    def __post_init__(self) -> None:
        self.accounts = tuple(account(self.tenant_id, kind, "EUR") for kind in KINDS)
        with self.owner.cursor() as sql:
            sql.executemany(
                "INSERT INTO accounts (tenant_id, id, kind, currency, created_at) "
                "VALUES (%s, %s, %s, %s, %s)",
                [(one.tenant_id, one.id, one.kind, one.currency, EPOCH) for one in self.accounts],
            )

    @property
    def account_ids(self) -> tuple[str, ...]:
        return tuple(one.id for one in self.accounts)

    def post(
        self,
        session: int,
        *,
        second: int = 0,
        amount_minor: int = 1,
        sides: tuple[int, int] = (1, 0),
        pending: bool = False,
    ) -> str:
        """Write a transfer from one account to another, uncommitted; returns its id."""
        self.written += 1
        # Ids say nothing about the order here, as little as those of several processes do.
        transfer_id = encode(IdKind.TRANSFER, self.written * _SPREAD % 2**64)
        debit, credit = (self.accounts[side] for side in sides)
        with self.sessions[session].cursor() as sql:
            sql.execute(
                "INSERT INTO ledger_transfers (tenant_id, id, kind, payment_id, debit_account_id, "
                "credit_account_id, amount, currency, created_at) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s, 'EUR', %s)",
                (
                    self.tenant_id,
                    transfer_id,
                    "authorization" if pending else "transfer",
                    encode(IdKind.PAYMENT, 1) if pending else None,
                    debit.id,
                    credit.id,
                    amount_minor,
                    instant(second),
                ),
            )
        return transfer_id

    def commit(self, session: int) -> None:
        self.sessions[session].commit()

    def commit_all(self) -> None:
        for session in self.sessions:
            session.commit()

    def seal(self, at_most: int = 1_000) -> int:
        with self.owner.cursor() as sql:
            sql.execute("SELECT seal_ledger(%s)", (at_most,))
            row = sql.fetchone()
        assert row is not None
        return int(row[0])

    def seal_until(self, expected: int, *, at_most: int = 1_000) -> None:
        """Seal until so many are sealed more; something of the server's own may hold it up."""
        sealed = self.seal(at_most)
        for _ in range(1_000):
            if sealed >= expected:
                break
            time.sleep(0.01)
            sealed += self.seal(at_most)
        assert expected == sealed

    def seal_all(self) -> None:
        """Seal all that this tenant has committed."""
        with self.owner.cursor() as sql:
            for _ in range(1_000):
                self.seal()
                sql.execute(
                    "SELECT (SELECT count(*) FROM ledger_transfers WHERE tenant_id = %(tenant)s) "
                    "= (SELECT count(*) FROM sealed_transfers WHERE tenant_id = %(tenant)s)",
                    {"tenant": self.tenant_id},
                )
                if sql.fetchone() == (True,):
                    return
                time.sleep(0.01)
        raise AssertionError("the ledger could not be sealed")

    def summed(self, account_id: str, until: datetime | None) -> Totals:
        """What plain sums over the transfers come to."""
        with self.owner.cursor() as sql:
            sql.execute(
                """
                SELECT coalesce(sum(amount) FILTER (WHERE layer = 'posted' AND d), 0),
                       coalesce(sum(amount) FILTER (WHERE layer = 'posted' AND NOT d), 0),
                       coalesce(sum(amount) FILTER (WHERE layer = 'pending' AND d), 0),
                       coalesce(sum(amount) FILTER (WHERE layer = 'pending' AND NOT d), 0)
                FROM (
                    SELECT amount, layer, debit_account_id = %(account)s AS d FROM ledger_transfers
                    WHERE tenant_id = %(tenant)s
                      AND created_at <= coalesce(%(until)s::timestamptz, 'infinity')
                      AND %(account)s IN (debit_account_id, credit_account_id)
                ) AS entry
                """,
                {"account": account_id, "tenant": self.tenant_id, "until": until},
            )
            row = sql.fetchone()
        assert row is not None
        return Totals(*map(int, row))

    def committed(self, account_id: str) -> list[str]:
        """The ids of the account's transfers, by instant and id."""
        with self.owner.cursor() as sql:
            sql.execute(
                "SELECT id FROM ledger_transfers WHERE tenant_id = %s "
                "AND %s IN (debit_account_id, credit_account_id) ORDER BY created_at, id",
                (self.tenant_id, account_id),
            )
            return [one_id for (one_id,) in sql.fetchall()]


@dataclass(slots=True)
class Sessions:
    """The connections that ledgers are written on, one ledger after the other."""

    owner: extensions.connection
    writers: tuple[extensions.connection, ...]

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """A fresh tenant's ledger; what was not committed in the end is rolled back."""
        try:
            yield Ledger(self.owner, self.writers)
        finally:
            for session in self.writers:
                session.rollback()


@contextmanager
def sessions(database: Database, *, count: int = 3) -> Iterator[Sessions]:
    """Connect as the owner: one session that commits at once, and `count` that wait."""
    with ExitStack() as stack:
        owner, *writers = (
            stack.enter_context(closing(psycopg2.connect(database.owner_url)))
            for _ in range(count + 1)
        )
        owner.autocommit = True
        yield Sessions(owner, tuple(writers))
