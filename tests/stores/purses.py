"""Accounts of a tenant with money in them, transfers between them, and what is written of it."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg2
import uuid_utils
from psycopg2 import extensions

from fluxpay.core.effects import PostTransfer, PutAccount, SetNoOverdraft
from fluxpay.core.idempotency import Claim, fingerprint
from fluxpay.core.ledger import Account, AccountKind, account
from fluxpay.core.money import Money
from fluxpay.core.payment_changes import Changed
from fluxpay.core.transfers import TransferRequest
from fluxpay.stores.pool import Pool
from fluxpay.stores.transfers import Transfers
from fluxpay.stores.writer import PaymentWriter
from tests.conftest import Database
from tests.stores.postings import posting, tenant_id

TABLES = ("ledger_transfers", "idempotency_records", "events")


@dataclass(frozen=True, slots=True)
class Purses:
    """Two accounts of a tenant."""

    tenant_id: str
    reserve: Account
    payout: Account

    def moving(
        self, amount_minor: int, *, key: str | None = None, back: bool = False
    ) -> PostTransfer:
        """A transfer from the reserve to the payout account, or back."""
        debit, credit = (self.payout, self.reserve) if back else (self.reserve, self.payout)
        return asking(self.tenant_id, debit.id, credit.id, amount_minor, key=key)


def asking(
    tenant: str, debit_id: str, credit_id: str, amount_minor: int, *, key: str | None = None
) -> PostTransfer:
    request = TransferRequest(debit_id, credit_id, Money(amount_minor, "EUR"), "Week 9")
    claim = claiming(tenant, key or uuid_utils.uuid7().hex, request)
    return PostTransfer(request, claim, uuid_utils.uuid7().int, datetime.now(UTC))


def claiming(tenant: str, key: str, request: object) -> Claim:
    return Claim(tenant, key, fingerprint("POST", "/v1/x", repr(request).encode()))


def opening(
    tenant: str, kind: AccountKind, *, no_overdraft: bool | None = None, currency: str = "EUR"
) -> PutAccount:
    claim = claiming(tenant, uuid_utils.uuid7().hex, (kind, no_overdraft))
    return PutAccount(account(tenant, kind, currency), no_overdraft, claim, datetime.now(UTC))


def ruling(tenant: str, account_id: str, *, no_overdraft: bool) -> SetNoOverdraft:
    claim = claiming(tenant, uuid_utils.uuid7().hex, no_overdraft)
    return SetNoOverdraft(account_id, no_overdraft, claim, datetime.now(UTC))


async def purses(pool: Pool, *, reserve_minor: int = 0, ruled: bool = False) -> Purses:
    """A new tenant's reserve, filled from an account without the rule, and an empty payout."""
    store, tenant = Transfers(pool), tenant_id()
    for kind in (AccountKind.RESERVE, AccountKind.PAYOUT):
        await store.put_account(opening(tenant, kind, no_overdraft=ruled))
    made = Purses(
        tenant,
        reserve=account(tenant, AccountKind.RESERVE, "EUR"),
        payout=account(tenant, AccountKind.PAYOUT, "EUR"),
    )
    if reserve_minor:
        await pay(pool, tenant)
        merchant = account(tenant, AccountKind.MERCHANT, "EUR")
        filling = asking(tenant, merchant.id, made.reserve.id, reserve_minor)
        assert isinstance(await store.post(filling), Changed)
    return made


async def pay(pool: Pool, tenant: str, key: str = "paid") -> str:
    """Make a payment; tells the id of its transfer."""
    made = posting(tenant, key)
    await PaymentWriter(pool, batch_max=1, writers_max=1).post(made)
    return made.transfer.id


def rows(database: Database, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(database.owner_url)) as owner, owner.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def counts(database: Database) -> dict[str, int]:
    return {table: rows(database, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


def held_minor(database: Database, of: Account) -> int:
    """What an account holds, summed up from the transfers alone."""
    sql = """
        SELECT coalesce(sum(CASE direction WHEN 'credit' THEN amount ELSE -amount END), 0)
        FROM ledger_entries WHERE tenant_id = %s AND account_id = %s
    """
    return int(rows(database, sql, of.tenant_id, of.id)[0][0])


def kinds(outcomes: Sequence[object]) -> Counter[type]:
    return Counter(type(outcome) for outcome in outcomes)


@contextmanager
def under_way(database: Database, purses: Purses) -> Iterator[extensions.connection]:
    """Another process's transfer between these accounts, that has looked and not yet written."""
    with closing(psycopg2.connect(database.app_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT set_config('fluxpay.tenant', %s, true)", (purses.tenant_id,))
        cursor.execute("SELECT id FROM lock_accounts(%s)", ([purses.reserve.id, purses.payout.id],))
        assert 2 == cursor.rowcount
        yield connection


async def until_waiting(database: Database, task: asyncio.Future[Any]) -> None:
    """Wait until a session of this database waits for a lock, as this task has to."""
    sql = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'
    """
    while rows(database, sql) == [(0,)]:
        assert not task.done(), "it did not wait"
        await asyncio.sleep(0.01)
