"""What somebody with every privilege could do to the books by hand, and the row that gives it away.

Each is done alone, to a fresh copy of sound books. Must not know how it is found.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fluxpay.core.ledger import AccountKind, account
from tests.e2e.ledgers import Ledger

Row = tuple[str, str]
SEALS: Final = 4
"""How many seals the tenant of the tests has."""


@dataclass(frozen=True, slots=True)
class Tampering:
    """Statements, and the table and id of the row that has to be named."""

    name: str
    statements: Callable[[Ledger], tuple[str, ...]]
    row: Callable[[Ledger], Row]


def sibling(prefix: str, id_: str) -> str:
    """The id of what was made together with this."""
    return f"{prefix}_{id_.partition('_')[2]}"


def _first_transfer(ledger: Ledger) -> str:
    return sibling("trf", ledger.captured)


def _platform(ledger: Ledger) -> str:
    return account(ledger.tenant, AccountKind.PLATFORM, "EUR").id


def _seal_again(ledger: Ledger, first: int, last: int) -> tuple[str, ...]:
    """Work the digests of these seals out anew, as the worker would have."""
    return tuple(
        f"""
        UPDATE ledger_seals SET digest = sha256(
            coalesce((SELECT digest FROM ledger_seals
                      WHERE tenant_id = '{ledger.tenant}' AND seq = {seq - 1}), ''::bytea)
            || (SELECT string_agg(digest, ''::bytea ORDER BY position) FROM sealed_transfers
                WHERE tenant_id = '{ledger.tenant}' AND seal_seq = {seq})
        ) WHERE tenant_id = '{ledger.tenant}' AND seq = {seq}
        """
        for seq in range(first, last + 1)
    )


def _rewrite(ledger: Ledger) -> tuple[str, ...]:
    """Edit a transfer where no statement shows it, and its digest to match."""
    transfer_id = _first_transfer(ledger)
    return (
        f"UPDATE ledger_transfers SET description = 'forged' WHERE id = '{transfer_id}'",
        f"""
        UPDATE sealed_transfers s SET digest = transfer_digest(t) FROM ledger_transfers t
        WHERE t.id = s.transfer_id AND s.transfer_id = '{transfer_id}'
        """,
    )


def rewrite_everything(ledger: Ledger) -> tuple[str, ...]:
    """Edit a transfer, its digest and every seal from there on: a chain that holds again."""
    return (*_rewrite(ledger), *_seal_again(ledger, 1, SEALS))


def _swap(column: str, table: str, first: str, second: str) -> tuple[str, ...]:
    return (
        f"""
        UPDATE {table} AS mine SET {column} = theirs.{column} FROM {table} AS theirs
        WHERE (mine.id, theirs.id) IN (('{first}', '{second}'), ('{second}', '{first}'))
        """,
    )


TAMPERINGS: Final = (
    Tampering(
        "the amount of a transfer is edited",
        lambda b: (f"UPDATE ledger_transfers SET amount = 9 WHERE id = '{_first_transfer(b)}'",),
        lambda b: ("ledger_transfers", _first_transfer(b)),
    ),
    Tampering(
        "the amount of a transfer that is not sealed yet is edited",
        lambda b: (f"UPDATE ledger_transfers SET amount = 9 WHERE payment_id = '{b.fresh}'",),
        lambda b: ("payments", b.fresh),
    ),
    Tampering(
        "a transfer is deleted",
        lambda b: (f"DELETE FROM ledger_transfers WHERE id = '{_first_transfer(b)}'",),
        lambda b: ("ledger_transfers", _first_transfer(b)),
    ),
    Tampering(
        "the times of two transfers are swapped",
        lambda b: _swap(
            "created_at", "ledger_transfers", _first_transfer(b), sibling("trf", b.refunded)
        ),
        lambda b: ("ledger_transfers", _first_transfer(b)),
    ),
    Tampering(
        "two transfers of one seal change places",
        lambda b: tuple(
            f"""
            UPDATE sealed_transfers SET position = {after}
            WHERE tenant_id = '{b.tenant}' AND seal_seq = 1 AND position = {before}
            """
            for before, after in ((1, 3), (2, 1), (3, 2))
        ),
        lambda _: ("ledger_seals", "1"),
    ),
    Tampering(
        "a transfer is put among those of long ago",
        lambda b: (
            f"""
            INSERT INTO ledger_transfers (tenant_id, id, kind, payment_id, debit_account_id,
                credit_account_id, amount, currency, created_at, description, committed_in)
            SELECT tenant_id, 'trf_forged', 'transfer', NULL, debit_account_id, credit_account_id,
                   5, currency, created_at, 'forged', 1
            FROM ledger_transfers WHERE id = '{_first_transfer(b)}'
            """,
        ),
        lambda _: ("ledger_transfers", "trf_forged"),
    ),
    Tampering(
        "more is refunded than was captured",
        lambda b: (
            f"""
            INSERT INTO ledger_transfers (tenant_id, id, kind, payment_id, debit_account_id,
                credit_account_id, amount, currency, created_at, reverses)
            SELECT tenant_id, 'trf_forged', 'refund', payment_id, credit_account_id,
                   debit_account_id, amount + 1, currency, created_at, id
            FROM ledger_transfers WHERE id = '{_first_transfer(b)}'
            """,
        ),
        lambda b: ("ledger_transfers", _first_transfer(b)),
    ),
    Tampering(
        "the amount of a payment is edited",
        lambda b: (f"UPDATE payments SET amount = amount + 1 WHERE id = '{b.captured}'",),
        lambda b: ("payments", b.captured),
    ),
    Tampering(
        "the status of a payment is edited",
        lambda b: (f"UPDATE payments SET status = 'refunded' WHERE id = '{b.captured}'",),
        lambda b: ("payments", b.captured),
    ),
    Tampering(
        "an expired payment is made a voided one",
        lambda b: (f"UPDATE payments SET status = 'voided' WHERE id = '{b.expired}'",),
        lambda b: ("payments", b.expired),
    ),
    Tampering(
        "a part of a refund is taken out of a payment",
        lambda b: (f"UPDATE payments SET amount_refunded = 99 WHERE id = '{b.parcels}'",),
        lambda b: ("payments", b.parcels),
    ),
    Tampering(
        "an authorization is made to stay open for ever",
        lambda b: (f"UPDATE payments SET expires_at = NULL WHERE id = '{b.opened}'",),
        lambda b: ("payments", b.opened),
    ),
    Tampering(
        "an authorization is given another year",
        lambda b: (
            f"UPDATE payments SET expires_at = expires_at + interval '1y' WHERE id = '{b.opened}'",
        ),
        lambda b: ("payments", b.opened),
    ),
    Tampering(
        "the description of a payment is edited",
        lambda b: (f"UPDATE payments SET description = 'forged' WHERE id = '{b.captured}'",),
        lambda b: ("payments", b.captured),
    ),
    Tampering(
        "a payment is deleted",
        lambda b: (f"DELETE FROM payments WHERE id = '{b.captured}'",),
        lambda b: ("payments", b.captured),
    ),
    Tampering(
        "a payment is moved to the year 20000",
        lambda b: (f"UPDATE payments SET created_at = '20000-01-01' WHERE id = '{b.captured}'",),
        lambda _: ("payments", "?"),
    ),
    Tampering(
        "a line of a statement is deleted",
        lambda b: (
            (
                f"DELETE FROM account_entries WHERE transfer_id = '{_first_transfer(b)}' "
                "AND direction = 'debit'"
            ),
        ),
        lambda b: ("account_entries", f"{_platform(b)}#2"),
    ),
    Tampering(
        "a running total is edited",
        lambda b: (
            (
                "UPDATE account_entries SET posted_debit = posted_debit + 1 "
                f"WHERE transfer_id = '{_first_transfer(b)}' AND direction = 'debit'"
            ),
        ),
        lambda b: ("account_entries", f"{_platform(b)}#1"),
    ),
    Tampering(
        "a seal is deleted",
        lambda b: (f"DELETE FROM ledger_seals WHERE tenant_id = '{b.tenant}' AND seq = 2",),
        lambda _: ("ledger_seals", "2"),
    ),
    Tampering(
        "the last seal is deleted with all that it covers",
        lambda b: (
            f"DELETE FROM ledger_seals WHERE tenant_id = '{b.tenant}' AND seq = {SEALS}",
            f"DELETE FROM sealed_transfers WHERE tenant_id = '{b.tenant}' AND seal_seq = {SEALS}",
        ),
        lambda b: ("ledger_transfers", sibling("trf", b.opened)),
    ),
    Tampering(
        "the digest of a transfer is rewritten to match what it was made",
        _rewrite,
        lambda _: ("ledger_seals", "1"),
    ),
    Tampering(
        "a link of the chain is rewritten, and no later one",
        lambda b: (*_rewrite(b), *_seal_again(b, 1, 1)),
        lambda _: ("ledger_seals", "2"),
    ),
    Tampering(
        "a refund is deleted",
        lambda b: (f"DELETE FROM refunds WHERE payment_id = '{b.parcels}'",),
        lambda b: ("refunds", b.refund_of_parcels),
    ),
    Tampering(
        "the amount of a refund is edited",
        lambda b: (f"UPDATE refunds SET amount = 99 WHERE payment_id = '{b.parcels}'",),
        lambda b: ("refunds", b.refund_of_parcels),
    ),
    Tampering(
        "the stored reply to a request is edited",
        lambda b: (
            (
                "UPDATE idempotency_records SET body = replace(body, '1250', '1') "
                f"WHERE resource_id = '{b.captured}'"
            ),
        ),
        lambda _: ("idempotency_records", "k-1"),
    ),
    Tampering(
        "a stored reply is deleted",
        lambda b: (f"DELETE FROM idempotency_records WHERE resource_id = '{b.captured}'",),
        lambda b: ("payments", b.captured),
    ),
    Tampering(
        "an event is deleted",
        lambda b: (f"DELETE FROM events WHERE subject_id = '{b.captured}'",),
        lambda b: ("events", sibling("evt", b.captured)),
    ),
    Tampering(
        "an account is made one of another currency",
        lambda b: (
            (
                "UPDATE accounts SET currency = 'JPY' "
                f"WHERE tenant_id = '{b.tenant}' AND kind = 'platform'"
            ),
        ),
        lambda b: ("accounts", _platform(b)),
    ),
    Tampering(
        "an account is made one of another kind",
        lambda b: (
            (
                "UPDATE accounts SET kind = 'merchant' "
                f"WHERE tenant_id = '{b.tenant}' AND kind = 'platform'"
            ),
        ),
        lambda b: ("accounts", _platform(b)),
    ),
    Tampering(
        "an account is deleted",
        lambda b: (f"DELETE FROM accounts WHERE tenant_id = '{b.tenant}' AND kind = 'platform'",),
        lambda b: ("accounts", _platform(b)),
    ),
    Tampering(
        "the horizon is moved past what is not sealed yet",
        lambda _: ("UPDATE ledger_horizon SET sealed_below = 4000000000",),
        lambda b: ("accounts", _platform(b)),
    ),
    Tampering(
        "a tenant is deleted",
        lambda b: (f"DELETE FROM tenants WHERE id = '{b.tenant}'",),
        lambda b: ("tenants", b.tenant),
    ),
)
