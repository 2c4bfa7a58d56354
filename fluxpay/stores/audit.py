"""The rows that `fluxpay verify` judges: each table beside what it must agree with.

Knows tables, joins and the order in which the rules want their rows; must not know the rules.
Every query names the tenant beside the row-level security, so that a role which sees everything
may run them as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fluxpay.core.audit import (
    AccountTotals,
    EntryRow,
    Finding,
    Head,
    LinkRow,
    TransferRow,
)
from fluxpay.core.audit_payments import (
    RECORD_HOURS,
    EventRow,
    PaymentRow,
    RecordRow,
    RefundRow,
    TransferLinks,
)
from fluxpay.core.books import Totals
from fluxpay.core.ledger import Account, AccountKind
from fluxpay.stores import payment_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fluxpay.stores.snapshots import Snapshot

_TRANSFER: Final = """
    {0}.tenant_id, {0}.id, {0}.kind, {0}.layer, {0}.payment_id, {0}.debit_account_id,
    {0}.credit_account_id, {0}.amount, {0}.currency, extract(epoch FROM {0}.created_at),
    {0}.reverses, {0}.description
"""
_TRANSFER_WIDTH: Final = 12
# Where the numbers come from another system, as after a restore, no transfer is too old to be
# unsealed: the worker has yet to come to it.
_HORIZON: Final = """
    SELECT CASE WHEN system_identifier = (SELECT system_identifier FROM pg_control_system())
                THEN sealed_below ELSE 0 END
    FROM ledger_horizon
"""
_LINKS: Final = f"""
    SELECT coalesce(l.seq, s.seal_seq), l.transfers, l.digest, s.position, s.transfer_id, s.digest,
           {_TRANSFER.format("t")}
    FROM (SELECT * FROM ledger_seals WHERE tenant_id = %(tenant)s) AS l
    FULL JOIN (SELECT * FROM sealed_transfers WHERE tenant_id = %(tenant)s) AS s
        ON s.seal_seq = l.seq
    LEFT JOIN ledger_transfers t ON t.tenant_id = %(tenant)s AND t.id = s.transfer_id
    ORDER BY 1, s.position
"""  # noqa: S608 - our own column names
_ENTRIES: Final = f"""
    SELECT e.account_id, e.seq, e.transfer_id, e.direction, e.layer, e.kind, e.payment_id,
           e.amount, e.currency, extract(epoch FROM e.created_at), e.posted_debit,
           e.posted_credit, e.pending_debit, e.pending_credit, extract(epoch FROM e.latest_at),
           s.seal_seq, s.position, {_TRANSFER.format("t")}
    FROM account_entries e
    LEFT JOIN sealed_transfers s ON s.tenant_id = %(tenant)s AND s.transfer_id = e.transfer_id
    LEFT JOIN ledger_transfers t ON t.tenant_id = %(tenant)s AND t.id = e.transfer_id
    WHERE e.tenant_id = %(tenant)s
    ORDER BY e.account_id, e.seq
"""  # noqa: S608 - our own column names
_UNTOLD_SIDES: Final = """
    SELECT d.account_id, t.id, d.direction, count(e.seq)
    FROM sealed_transfers s
    JOIN ledger_transfers t ON t.tenant_id = %(tenant)s AND t.id = s.transfer_id
    CROSS JOIN LATERAL (
        VALUES ('debit', t.debit_account_id), ('credit', t.credit_account_id)
    ) AS d (direction, account_id)
    LEFT JOIN account_entries e
        ON e.tenant_id = %(tenant)s AND e.transfer_id = t.id AND e.account_id = d.account_id
       AND e.direction = d.direction
    WHERE s.tenant_id = %(tenant)s
    GROUP BY 1, 2, 3 HAVING count(e.seq) <> 1 ORDER BY 1, 2
"""
_ACCOUNTS: Final = """
    SELECT id, tenant_id, kind, currency FROM accounts WHERE tenant_id = %(tenant)s ORDER BY id
"""
_BALANCES: Final = """
    WITH summed AS MATERIALIZED (
        SELECT d.account_id,
               sum(t.amount) FILTER (WHERE layer = 'posted' AND direction = 'debit') AS s1,
               sum(t.amount) FILTER (WHERE layer = 'posted' AND direction = 'credit') AS s2,
               sum(t.amount) FILTER (WHERE layer = 'pending' AND direction = 'debit') AS s3,
               sum(t.amount) FILTER (WHERE layer = 'pending' AND direction = 'credit') AS s4
        FROM ledger_transfers t
        CROSS JOIN LATERAL (
            VALUES ('debit', t.debit_account_id), ('credit', t.credit_account_id)
        ) AS d (direction, account_id)
        WHERE t.tenant_id = %(tenant)s
        GROUP BY d.account_id
    ), wanted AS (
        SELECT account_id FROM summed
        UNION SELECT id FROM accounts WHERE tenant_id = %(tenant)s
        UNION SELECT account_id FROM account_entries WHERE tenant_id = %(tenant)s
    )
    SELECT account_id, a.currency, posted_debit, posted_credit, pending_debit, pending_credit,
           s1, s2, s3, s4
    FROM wanted
    LEFT JOIN summed USING (account_id)
    LEFT JOIN account_totals(ARRAY(SELECT account_id FROM wanted), NULL) AS told USING (account_id)
    LEFT JOIN accounts a ON a.tenant_id = %(tenant)s AND a.id = account_id
    ORDER BY account_id
"""
_PAYMENTS: Final = f"""
    SELECT {payment_rows.PAYMENT_COLUMNS}, authorized, released, captured, refunded, given_back,
           currencies, told, endings, resource_id, r_status,
           created_at > now() - make_interval(hours => %(record_hours)s)
    FROM (SELECT * FROM payments WHERE tenant_id = %(tenant)s) AS p
    LEFT JOIN (
        SELECT payment_id AS t_payment,
               sum(t.amount) FILTER (WHERE t.kind = 'authorization') AS authorized,
               sum(t.amount) FILTER (WHERE t.kind = 'release') AS released,
               sum(t.amount) FILTER (WHERE t.kind = 'capture') AS captured,
               sum(t.amount) FILTER (WHERE t.kind = 'refund') AS refunded,
               array_agg(DISTINCT t.currency::text) AS currencies
        FROM ledger_transfers t WHERE t.tenant_id = %(tenant)s GROUP BY 1
    ) AS moved ON t_payment = p.id
    LEFT JOIN (
        SELECT payment_id AS r_payment, sum(r.amount) AS given_back
        FROM refunds r WHERE r.tenant_id = %(tenant)s GROUP BY 1
    ) AS given ON r_payment = p.id
    LEFT JOIN (
        SELECT e.id AS first_event, subject_id AS first_subject, data::text AS told
        FROM events e WHERE e.tenant_id = %(tenant)s
    ) AS first ON first_event = 'evt_' || substr(p.id, 5) AND first_subject = p.id
    LEFT JOIN (
        SELECT subject_id AS ended, array_agg(type::text ORDER BY e.id) AS endings
        FROM events e
        WHERE e.tenant_id = %(tenant)s AND type IN ('payment.voided', 'payment.expired')
        GROUP BY 1
    ) AS ending ON ended = p.id
    LEFT JOIN (
        SELECT r.idempotency_key AS r_key, resource_id, r.status AS r_status
        FROM idempotency_records r WHERE r.tenant_id = %(tenant)s
    ) AS record ON r_key = p.idempotency_key
    ORDER BY p.id
"""  # noqa: S608 - our own column names
_TRANSFERS: Final = f"""
    SELECT debit.currency, credit.currency, t.payment_id IS NULL OR p.id IS NOT NULL,
           coalesce(taken.amount, 0), s.transfer_id IS NOT NULL, t.committed_in < ({_HORIZON}),
           e.type, CASE WHEN t.kind = 'transfer' THEN e.data::text END,
           {_TRANSFER.format("t")}, {_TRANSFER.format("before")}
    FROM ledger_transfers t
    LEFT JOIN accounts debit
        ON debit.tenant_id = %(tenant)s AND debit.id = t.debit_account_id
    LEFT JOIN accounts credit
        ON credit.tenant_id = %(tenant)s AND credit.id = t.credit_account_id
    LEFT JOIN payments p ON p.tenant_id = %(tenant)s AND p.id = t.payment_id
    LEFT JOIN ledger_transfers before
        ON before.tenant_id = %(tenant)s AND before.id = t.reverses
    LEFT JOIN (
        SELECT reverses, sum(r.amount) AS amount FROM ledger_transfers r
        WHERE r.tenant_id = %(tenant)s AND reverses IS NOT NULL GROUP BY reverses
    ) AS taken ON taken.reverses = t.id
    LEFT JOIN sealed_transfers s ON s.tenant_id = %(tenant)s AND s.transfer_id = t.id
    LEFT JOIN events e
        ON e.tenant_id = %(tenant)s AND e.id = 'evt_' || substr(t.id, 5)
       AND e.subject_id = coalesce(t.payment_id, t.id)
    WHERE t.tenant_id = %(tenant)s
    ORDER BY t.id
"""  # noqa: S608 - our own column names
_REFUNDS: Final = f"""
    SELECT {payment_rows.REFUND_COLUMNS}, p.currency, t.id IS NOT NULL, e.data::text
    FROM refunds r
    LEFT JOIN payments p ON p.tenant_id = %(tenant)s AND p.id = r.payment_id
    LEFT JOIN ledger_transfers t
        ON t.tenant_id = %(tenant)s AND t.id = 'trf_' || substr(r.id, 4) AND t.kind = 'refund'
       AND t.payment_id = r.payment_id
    LEFT JOIN events e
        ON e.tenant_id = %(tenant)s AND e.id = 'evt_' || substr(r.id, 4) AND e.subject_id = r.id
       AND e.type = 'refund.created'
    WHERE r.tenant_id = %(tenant)s
    ORDER BY r.id
"""  # noqa: S608 - our own column names
_SUBJECTS: Final = """
    SELECT id AS subject FROM payments WHERE tenant_id = %(tenant)s
    UNION ALL SELECT id FROM refunds WHERE tenant_id = %(tenant)s
    UNION ALL SELECT id FROM ledger_transfers WHERE tenant_id = %(tenant)s
    UNION ALL SELECT id FROM accounts WHERE tenant_id = %(tenant)s
"""
_RECORDS: Final = f"""
    SELECT r.idempotency_key, r.resource_id, r.status, r.body, known.subject IS NOT NULL,
           telling.subject_id IS NOT NULL
    FROM idempotency_records r
    LEFT JOIN ({_SUBJECTS}) AS known ON known.subject = r.resource_id
    LEFT JOIN (
        SELECT DISTINCT subject_id, sha256(convert_to(data::text, 'UTF8')) AS digest
        FROM events WHERE tenant_id = %(tenant)s
    ) AS telling
        ON telling.subject_id = r.resource_id
       AND telling.digest = sha256(convert_to(r.body, 'UTF8'))
    WHERE r.tenant_id = %(tenant)s
    ORDER BY r.idempotency_key
"""  # noqa: S608 - our own column names
_EVENTS: Final = f"""
    SELECT e.id, e.subject_id, e.data::text, known.subject IS NOT NULL
    FROM events e
    LEFT JOIN ({_SUBJECTS}) AS known ON known.subject = e.subject_id
    WHERE e.tenant_id = %(tenant)s
    ORDER BY e.id
"""  # noqa: S608 - our own column names
_HEAD: Final = """
    SELECT seq, digest FROM ledger_seals WHERE tenant_id = %(tenant)s ORDER BY seq DESC LIMIT 1
"""
_SEAL: Final = "SELECT digest FROM ledger_seals WHERE tenant_id = %(tenant)s AND seq = %(seq)s"


class Books:
    """The books of one tenant, as rows to be judged."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def head(self) -> Head | None:
        """The last seal."""
        for seq, digest in self._snapshot.stream(_HEAD):
            return Head(seq, bytes(digest))
        return None

    def digest_of(self, seq: int) -> bytes | None:
        """The digest of a seal."""
        for (digest,) in self._snapshot.stream(_SEAL, {"seq": seq}):
            return bytes(digest)
        return None

    def links(self) -> Iterator[LinkRow]:
        """The chain, by seal and position."""
        for seq, count, link, position, transfer_id, digest, *rest in self._snapshot.stream(_LINKS):
            transfer = _transfer(rest)
            yield LinkRow(seq, count, _bytes(link), position, transfer_id, _bytes(digest), transfer)

    def entries(self) -> Iterator[EntryRow]:
        """The statements, by account and number."""
        for row in self._snapshot.stream(_ENTRIES):
            seal_seq, position = row[15:17]
            sealed_as = None if seal_seq is None else (seal_seq, position)
            columns = (*row[:10], Totals(*row[10:14]), row[14], sealed_as, _transfer(row[17:]))
            yield EntryRow(*columns)

    def untold_sides(self) -> Iterator[Finding]:
        """Sides of sealed transfers that no line of a statement shows, or more than one."""
        for account_id, transfer_id, direction, lines in self._snapshot.stream(_UNTOLD_SIDES):
            wrong = f"shows the {direction} of {transfer_id} {lines} times, not once"
            yield Finding("account_entries", account_id, wrong)

    def accounts(self) -> Iterator[Account]:
        """Accounts, by id."""
        for account_id, tenant_id, kind, currency in self._snapshot.stream(_ACCOUNTS):
            yield Account(account_id, tenant_id, AccountKind(kind), currency)

    def balances(self) -> Iterator[AccountTotals]:
        """Each account with both its totals."""
        for account_id, currency, *sums in self._snapshot.stream(_BALANCES):
            told, summed = sums[:4], sums[4:]
            totals = (Totals(*_minor(told)), Totals(*_minor(summed)))
            yield AccountTotals(account_id, currency, *totals)

    def payments(self) -> Iterator[PaymentRow]:
        """Payments, by id."""
        for row in self._snapshot.stream(_PAYMENTS, {"record_hours": RECORD_HOURS}):
            authorized, released, captured, refunded, given_back = _minor(row[13:18])
            currencies, told, endings, names, status, is_due = row[18:]
            yield PaymentRow(
                payment_rows.payment(row),
                authorized_minor=authorized,
                released_minor=released,
                captured_minor=captured,
                refunded_minor=refunded,
                refund_rows_minor=given_back,
                currencies=tuple(currencies or ()),
                told=told,
                endings=tuple(endings or ()),
                record_names=names,
                record_status=status,
                is_record_due=is_due,
            )

    def transfers(self) -> Iterator[TransferLinks]:
        """Transfers, by id."""
        for row in self._snapshot.stream(_TRANSFERS):
            debit, credit, is_known, taken, is_sealed, is_settled, event_type, told = row[:8]
            transfer = _transfer(row[8 : 8 + _TRANSFER_WIDTH])
            if transfer is None:
                continue
            yield TransferLinks(
                transfer=transfer,
                debit_currency=debit,
                credit_currency=credit,
                is_payment_known=is_known,
                reversed_=_transfer(row[8 + _TRANSFER_WIDTH :]),
                reversals_minor=int(taken),
                is_sealed=is_sealed,
                is_settled=is_settled,
                event_type=event_type,
                told=told,
            )

    def refunds(self) -> Iterator[RefundRow]:
        """Refunds, by id."""
        for row in self._snapshot.stream(_REFUNDS):
            yield RefundRow(payment_rows.refund(row[:6]), *row[6:])

    def records(self) -> Iterator[RecordRow]:
        """Stored replies, by key."""
        return (RecordRow(*row) for row in self._snapshot.stream(_RECORDS))

    def events(self) -> Iterator[EventRow]:
        """Events, by id."""
        return (EventRow(*row) for row in self._snapshot.stream(_EVENTS))


def _transfer(columns: Any) -> TransferRow | None:
    """Read the columns of `_TRANSFER`; None where an outer join found no row."""
    return None if columns[1] is None else TransferRow(*columns)


def _minor(sums: Iterable[Any]) -> list[int]:
    """Sums of amounts as integers; a sum over no rows is null in SQL."""
    return [int(one or 0) for one in sums]


def _bytes(column: memoryview | None) -> bytes | None:
    return None if column is None else bytes(column)
