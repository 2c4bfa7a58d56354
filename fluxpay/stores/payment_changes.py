"""Changing payments: lock the row, ask the core's rule, write what it says, all in one transaction.

Knows rows, locks and the order of the look-ups; must not know what a capture or a refund is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fluxpay.core import ledger
from fluxpay.core.idempotency import Expired, Mismatched, Replayed
from fluxpay.core.money import Money
from fluxpay.core.payment_changes import Changed, Command, OpenTransfer, change
from fluxpay.core.payments import Action
from fluxpay.core.problems import Refused
from fluxpay.stores import payment_rows, records

if TYPE_CHECKING:
    from datetime import datetime

    from fluxpay.core.effects import ChangePayment
    from fluxpay.core.idempotency import Claim
    from fluxpay.core.ledger import Transfer
    from fluxpay.core.payment_changes import Change
    from fluxpay.core.payments import Payment
    from fluxpay.stores.connection import Connection
    from fluxpay.stores.pool import Pool

Outcome = Changed | Replayed | Mismatched | Expired | Refused | None

_LOCK: Final = "SELECT " + payment_rows.PAYMENT_COLUMNS + " FROM lock_payment(%s)"  # noqa: S608 - our own column names
_WRITE: Final = "SELECT change_payment(%s::json)"
_OPEN: Final = """
    SELECT t.id, t.kind, t.amount, t.currency, t.created_at,
           t.amount - coalesce(sum(r.amount), 0)::bigint
    FROM ledger_transfers t
    LEFT JOIN ledger_transfers r
        ON r.tenant_id = t.tenant_id AND r.payment_id = t.payment_id AND r.reverses = t.id
    WHERE t.tenant_id = %s AND t.payment_id = %s AND t.kind IN ('authorization', 'capture')
    GROUP BY t.tenant_id, t.id ORDER BY t.id
"""


class PaymentChanges:
    """Changes payments, one at a time for each payment."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def change(self, effect: ChangePayment) -> Outcome:
        """Change a payment, or find out why not.

        Raises:
            StoreError: The database could not be asked, or the outcome could not be learnt.
        """
        return await records.until_settled(lambda: self._change_once(effect))

    async def expire(self, tenant_id: str, payment_id: str, *, uuid: int, now: datetime) -> bool:
        """Release what is left of an authorization whose time is over; tells whether it was."""
        async with (
            self._pool.connection() as connection,
            connection.transaction(tenant=tenant_id),
        ):
            decided = await _decide(
                connection,
                tenant_id,
                payment_id,
                command=Command(Action.EXPIRE),
                uuid=uuid,
                now=now,
            )
            if decided is None or isinstance(decided, Refused):
                # Somebody captured or voided it a moment ago.
                return False
            await records.write(connection, _WRITE, _parts(decided, claim=None))
            return True

    async def due(self, *, now: datetime, at_most: int) -> list[tuple[str, str]]:
        """Tenant and id of authorizations whose time is over, the oldest first."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch_all(
                "SELECT * FROM due_authorizations(%s, %s)", (now, at_most)
            )
        return [(tenant_id, payment_id) for tenant_id, payment_id in rows]

    async def _change_once(self, effect: ChangePayment) -> Outcome:
        claim = effect.claim
        async with (
            self._pool.connection() as connection,
            connection.transaction(tenant=claim.tenant_id),
        ):
            # The lock first: a twin of this request waits here, and then finds the record.
            decided = await _decide(
                connection,
                claim.tenant_id,
                effect.payment_id,
                command=effect.command,
                uuid=effect.uuid,
                now=effect.now,
            )
            recorded = await records.recorded(connection, claim)
            if recorded is not None:
                return recorded
            if decided is None or isinstance(decided, Refused):
                return decided
            await records.write(connection, _WRITE, _parts(decided, claim=claim))
            return Changed(decided.reply(claim))


async def _decide(
    connection: Connection,
    tenant_id: str,
    payment_id: str,
    *,
    command: Command,
    uuid: int,
    now: datetime,
) -> Change | Refused | None:
    row = await connection.fetch_one(_LOCK, (payment_id,))
    if row is None:
        return None
    found = payment_rows.payment(row)
    rows = await connection.fetch_all(_OPEN, (tenant_id, payment_id))
    open_transfers = tuple(
        OpenTransfer(_transfer(found, one_id, kind, Money(amount, currency), at), left)
        for one_id, kind, amount, currency, at, left in rows
    )
    return change(found, command, open_transfers=open_transfers, uuid=uuid, now=now)


def _transfer(
    payment: Payment, transfer_id: str, kind: str, money: Money, created_at: datetime
) -> Transfer:
    is_capture = kind == ledger.TransferKind.CAPTURE
    make = ledger.capture if is_capture else ledger.authorize
    moment = payment_rows.instant(created_at)
    return make(transfer_id, payment.tenant_id, money=money, now=moment)


def _parts(decided: Change, *, claim: Claim | None) -> dict[str, object]:
    """A change as `change_payment` reads it."""
    after, event = decided.payment, decided.event
    parts: dict[str, object] = {
        "payment": {
            "id": after.id,
            "status": after.status,
            "amount_captured": after.amount_captured_minor,
            "amount_refunded": after.amount_refunded_minor,
            "expires_at": after.expires_at,
        },
        "transfers": [_transfer_json(transfer) for transfer in decided.transfers],
        "event": records.event_json(event),
    }
    if decided.refund is not None:
        refund = decided.refund
        parts["refund"] = {
            "id": refund.id,
            "amount": refund.money.amount_minor,
            "currency": refund.money.currency,
            "reason": refund.reason,
            "created_at": refund.created_at,
        }
    if claim is not None:
        parts["record"] = records.record_json(
            claim,
            decided.reply(claim),
            resource_id=after.id if decided.refund is None else decided.refund.id,
            created_at=event.created_at,
        )
    return parts


def _transfer_json(transfer: Transfer) -> dict[str, object]:
    return {
        "id": transfer.id,
        "kind": transfer.kind,
        "debit_account_id": transfer.debit.id,
        "credit_account_id": transfer.credit.id,
        "amount": transfer.money.amount_minor,
        "currency": transfer.money.currency,
        "created_at": transfer.created_at,
        "reverses": transfer.reverses,
    }
