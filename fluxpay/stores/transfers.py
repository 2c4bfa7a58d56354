"""Transfers and accounts in Postgres: written as the core's rules decide.

A transfer locks the accounts that may not be overdrawn, and only those; their totals are read by
a statement after the one that waited for the lock, so they hold what the last holder committed.
Knows rows, locks and the order of the look-ups; must not know when money may move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from fluxpay.core import transfers
from fluxpay.core.idempotency import Expired, Mismatched, Replayed
from fluxpay.core.ledger import Account, AccountKind, Transfer, TransferKind
from fluxpay.core.money import Money
from fluxpay.core.payment_changes import Changed
from fluxpay.core.problems import Refused
from fluxpay.core.transfers import BookedTransfer
from fluxpay.stores import account_rows, payment_rows, records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fluxpay.core.books import OpenAccount, Totals
    from fluxpay.core.effects import FindTransfer, PostTransfer, PutAccount, SetNoOverdraft
    from fluxpay.core.idempotency import Claim
    from fluxpay.core.transfers import AccountChange, TransferPosting
    from fluxpay.stores.connection import Connection
    from fluxpay.stores.pool import Pool

Outcome: TypeAlias = Changed | Replayed | Mismatched | Expired

_LOCK: Final = "SELECT " + account_rows.ACCOUNT_COLUMNS + " FROM lock_accounts(%s)"  # noqa: S608 - our own column names
_ACCOUNT: Final = (
    "SELECT "  # noqa: S608 - our own column names
    + account_rows.ACCOUNT_COLUMNS
    + " FROM accounts WHERE tenant_id = %s AND id = %s"
)
_TOTALS: Final = """
    SELECT account_id, posted_debit, posted_credit, pending_debit, pending_credit
    FROM account_totals(%s, NULL)
"""
_TRANSFER: Final = """
    SELECT t.id, t.kind, t.amount, t.currency, t.created_at, t.reverses, t.payment_id,
           t.description, t.tenant_id, debit.id, debit.kind, credit.id, credit.kind
    FROM ledger_transfers t
    JOIN accounts debit ON debit.tenant_id = t.tenant_id AND debit.id = t.debit_account_id
    JOIN accounts credit ON credit.tenant_id = t.tenant_id AND credit.id = t.credit_account_id
    WHERE t.tenant_id = %s AND t.id = %s
"""
_POST: Final = "SELECT post_transfer(%s::json)"
_PUT: Final = "SELECT put_account(%s::json)"


class Transfers:
    """The transfers and accounts of one tenant at a time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def post(self, effect: PostTransfer) -> Outcome | Refused:
        """Make a transfer, or find out why not.

        Raises:
            StoreError: The database could not be asked, or the outcome could not be learnt.
        """
        return await records.until_settled(lambda: self._post_once(effect))

    async def find(self, effect: FindTransfer) -> BookedTransfer | None:
        """Read one transfer."""
        async with (
            self._pool.connection() as connection,
            connection.transaction(tenant=effect.tenant_id),
        ):
            row = await connection.fetch_one(_TRANSFER, (effect.tenant_id, effect.transfer_id))
        return None if row is None else _booked(row)

    async def put_account(self, effect: PutAccount) -> Outcome:
        """Open an account, or find it open.

        Raises:
            StoreError: The database could not be asked, or the outcome could not be learnt.
        """
        return await records.until_settled(lambda: self._put_once(effect))

    async def set_no_overdraft(self, effect: SetNoOverdraft) -> Outcome | None:
        """Write an account's rule; None where there is no such account.

        Raises:
            StoreError: The database could not be asked, or the outcome could not be learnt.
        """
        return await records.until_settled(lambda: self._rule_once(effect))

    async def _post_once(self, effect: PostTransfer) -> Outcome | Refused:
        claim, request = effect.claim, effect.request
        async with (
            self._pool.connection() as connection,
            connection.transaction(tenant=claim.tenant_id),
        ):
            # The lock first: a twin of this request waits here, and then finds the record.
            ids = [request.debit_account_id, request.credit_account_id]
            rows = await connection.fetch_all(_LOCK, (ids,))
            accounts = {row[0]: account_rows.account(row) for row in rows}
            recorded = await records.recorded(connection, claim)
            if recorded is not None:
                return recorded
            decided = transfers.post(
                request,
                accounts=accounts,
                totals=await _totals(connection, accounts),
                uuid=effect.uuid,
                now=effect.now,
            )
            if isinstance(decided, Refused):
                return decided
            await records.write(connection, _POST, _posting_parts(decided, claim))
            return Changed(decided.reply(claim))

    async def _put_once(self, effect: PutAccount) -> Outcome:
        claim, account = effect.claim, effect.account
        async with (
            self._pool.connection() as connection,
            connection.transaction(tenant=claim.tenant_id),
        ):
            observed = await _account(connection, claim.tenant_id, account.id)
            if observed is None or effect.no_overdraft not in {None, observed.no_overdraft}:
                await connection.execute("SELECT lock_account_rules()")
                observed = await _account(connection, claim.tenant_id, account.id)
            change = transfers.opened(
                account, observed, no_overdraft=effect.no_overdraft, now=effect.now
            )
            return await _put(connection, observed, change, effect=effect)

    async def _rule_once(self, effect: SetNoOverdraft) -> Outcome | None:
        claim = effect.claim
        async with (
            self._pool.connection() as connection,
            connection.transaction(tenant=claim.tenant_id),
        ):
            observed = await _account(connection, claim.tenant_id, effect.account_id)
            if observed is None:
                return None
            if observed.no_overdraft is not effect.no_overdraft:
                await connection.execute("SELECT lock_account_rules()")
            change = transfers.ruled(observed, no_overdraft=effect.no_overdraft)
            return await _put(connection, observed, change, effect=effect)


async def _account(connection: Connection, tenant_id: str, account_id: str) -> OpenAccount | None:
    row = await connection.fetch_one(_ACCOUNT, (tenant_id, account_id))
    return None if row is None else account_rows.account(row)


async def _totals(
    connection: Connection, accounts: Mapping[str, OpenAccount]
) -> Mapping[str, Totals]:
    """The totals of the accounts whose balance matters: those that are locked."""
    locked = [one_id for one_id, one in accounts.items() if one.no_overdraft]
    if not locked:
        return {}
    rows = await connection.fetch_all(_TOTALS, (locked,))
    return {account_id: account_rows.totals(sums) for account_id, *sums in rows}


async def _put(
    connection: Connection,
    observed: OpenAccount | None,
    change: AccountChange,
    *,
    effect: PutAccount | SetNoOverdraft,
) -> Outcome:
    claim = effect.claim
    # After the lock, so that a twin of this request is found.
    recorded = await records.recorded(connection, claim)
    if recorded is not None:
        return recorded
    after, reply = change.after, change.reply(claim)
    record = records.record_json(claim, reply, resource_id=after.account.id, created_at=effect.now)
    parts: dict[str, object] = {"record": record}
    if after != observed:
        # Where it is as wanted, the rules are not held, and writing could undo another's change.
        parts["account"] = {
            "id": after.account.id,
            "kind": after.account.kind,
            "currency": after.account.currency,
            "no_overdraft": after.no_overdraft,
            "created_at": after.created_at,
        }
    await records.write(connection, _PUT, parts)
    return Changed(reply)


def _posting_parts(posting: TransferPosting, claim: Claim) -> dict[str, object]:
    transfer = posting.booked.transfer
    return {
        "transfer": {
            "id": transfer.id,
            "debit_account_id": transfer.debit.id,
            "credit_account_id": transfer.credit.id,
            "amount": transfer.money.amount_minor,
            "currency": transfer.money.currency,
            "description": posting.booked.description,
            "created_at": transfer.created_at,
        },
        "event": records.event_json(posting.event),
        "record": records.record_json(
            claim,
            posting.reply(claim),
            resource_id=transfer.id,
            created_at=transfer.created_at,
        ),
    }


def _booked(row: tuple[Any, ...]) -> BookedTransfer:
    """Read a row of `_TRANSFER`."""
    money, tenant_id = Money(row[2], row[3]), row[8]
    transfer = Transfer(
        id=row[0],
        kind=TransferKind(row[1]),
        debit=Account(row[9], tenant_id, AccountKind(row[10]), money.currency),
        credit=Account(row[11], tenant_id, AccountKind(row[12]), money.currency),
        money=money,
        created_at=payment_rows.instant(row[4]),
        reverses=row[5],
    )
    return BookedTransfer(transfer, payment_id=row[6], description=row[7])
