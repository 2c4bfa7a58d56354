"""Reading payments, their entries and their recorded replies, as one tenant sees them.

Each read is one round trip and one transaction: the tenant is set for it alone, and row-level
security does the rest. Knows rows; must not know what a status means.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from fluxpay.core.effects import FindRecord
from fluxpay.core.idempotency import Expired, StoredReply
from fluxpay.core.ids import IdKind, encode
from fluxpay.stores import payment_rows, records

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from fluxpay.core.effects import (
        FindPayment,
        ListPaymentEntries,
        ListPayments,
        ListRefunds,
        RecordReply,
    )
    from fluxpay.core.ledger import Entry
    from fluxpay.core.payments import Payment, Refund
    from fluxpay.stores.pool import Pool

_AS_TENANT: Final = "SELECT set_config('fluxpay.tenant', %s, true);\n"
# The function sets the tenant itself.
_READ: Final = "SELECT read_payment(%s, %s)"
_COLUMNS: Final = "SELECT " + payment_rows.PAYMENT_COLUMNS + " FROM payments"  # noqa: S608 - our own column names
_REFUNDS: Final = (
    "SELECT "  # noqa: S608 - our own column names
    + payment_rows.REFUND_COLUMNS
    + """
    FROM payments p
    LEFT JOIN refunds r ON r.tenant_id = p.tenant_id AND r.payment_id = p.id
    WHERE p.tenant_id = %s AND p.id = %s
    ORDER BY r.id
    """
)
# An id carries the clock of the process that made it, created_at the same clock a moment later.
_ID_CLOCK_SLACK: Final = timedelta(minutes=1)
# What the record of a batch names: it made payments, and nothing of its own.
_BATCH: Final = "batch"
_UUID_TIME_SHIFT: Final = 80


class Payments:
    """The payments of one tenant at a time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, effect: FindPayment) -> Payment | None:
        """Read one payment."""
        async with self._pool.connection() as connection:
            row = await connection.fetch_one(_READ, (effect.tenant_id, effect.payment_id))
        return None if row is None or row[0] is None else payment_rows.payment_of_json(row[0])

    async def list(self, effect: ListPayments) -> tuple[Payment, ...]:
        """Read a page of payments, newest first."""
        conditions, parameters = _conditions(effect)
        sql = f"{_COLUMNS} WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT %s"
        rows = await self._read(effect.tenant_id, sql, (*parameters, effect.limit))
        return tuple(payment_rows.payment(row) for row in rows)

    async def entries(self, effect: ListPaymentEntries) -> tuple[Entry, ...] | None:
        """Read the ledger entries of one payment."""
        sql = """
            SELECT e.id, e.account_id, e.direction, e.amount, e.currency, e.created_at, e.layer
            FROM payments p
            LEFT JOIN ledger_entries e ON e.tenant_id = p.tenant_id AND e.payment_id = p.id
            WHERE p.tenant_id = %s AND p.id = %s
            ORDER BY e.transfer_id, e.direction DESC
        """
        rows = await self._read(effect.tenant_id, sql, (effect.tenant_id, effect.payment_id))
        return (
            tuple(payment_rows.entry(row) for row in rows if row[0] is not None) if rows else None
        )

    async def refunds(self, effect: ListRefunds) -> tuple[Refund, ...] | None:
        """Read the refunds of one payment."""
        rows = await self._read(effect.tenant_id, _REFUNDS, (effect.tenant_id, effect.payment_id))
        return (
            tuple(payment_rows.refund(row) for row in rows if row[0] is not None) if rows else None
        )

    async def find_record(self, effect: FindRecord) -> StoredReply | Expired | None:
        """Read what is recorded under a claim's key, whatever its fingerprint."""
        claim = effect.claim
        rows = await self._read(claim.tenant_id, records.RECORD, (claim.tenant_id, claim.key))
        fingerprint, status, body, location, payment_id = rows[0]
        if fingerprint is not None:
            return StoredReply(fingerprint, status, body.encode(), location)
        return None if payment_id is None else Expired(payment_id)

    async def record_reply(self, effect: RecordReply) -> StoredReply:
        """Record a reply that no transaction of its own writes: a whole batch's."""

        async def attempt() -> StoredReply:
            found = await self.find_record(FindRecord(effect.claim))
            if isinstance(found, StoredReply):
                return found
            await self._write_record(effect)
            return effect.reply

        return await records.until_settled(attempt)

    async def _write_record(self, effect: RecordReply) -> None:
        record = records.record_json(
            effect.claim, effect.reply, resource_id=_BATCH, created_at=effect.now
        )
        async with (
            self._pool.connection() as connection,
            connection.transaction(tenant=effect.claim.tenant_id),
        ):
            await records.write(connection, "SELECT record_reply(%s::json)", record)

    async def _read(
        self, tenant_id: str, sql: str, parameters: Sequence[object]
    ) -> Sequence[tuple[Any, ...]]:
        async with self._pool.connection() as connection:
            return await connection.fetch_all(_AS_TENANT + sql, (tenant_id, *parameters))


def _conditions(effect: ListPayments) -> tuple[list[str], list[object]]:
    """Write the WHERE clause of a page, and what goes into it.

    Row-level security would do without the first condition, but with it the planner starts at
    the right place of the index.
    """
    wanted = effect.filter
    conditions: list[tuple[str, object]] = [("tenant_id = %s", effect.tenant_id)]
    if effect.after is not None:
        conditions.append(("id < %s", effect.after))
    if wanted.status is not None:
        conditions.append(("status = %s", str(wanted.status)))
    if wanted.currency is not None:
        conditions.append(("currency = %s", wanted.currency))
    if wanted.reference is not None:
        conditions.append(("reference = %s", wanted.reference))
    if wanted.created_gte is not None:
        conditions.append(("created_at >= %s", wanted.created_gte))
        conditions.append(("id >= %s", _id_at(wanted.created_gte - _ID_CLOCK_SLACK)))
    if wanted.created_lt is not None:
        conditions.append(("created_at < %s", wanted.created_lt))
        conditions.append(("id < %s", _id_at(wanted.created_lt + _ID_CLOCK_SLACK)))
    return [sql for sql, _ in conditions], [value for _, value in conditions]


def _id_at(moment: datetime) -> str:
    """The smallest id of this instant: bounds the scan of an index that is in order of id."""
    at_ms = max(0, int(moment.timestamp() * 1000))
    return encode(IdKind.PAYMENT, at_ms << _UUID_TIME_SHIFT)
