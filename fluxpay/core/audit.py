"""Proving the books: what each row must be, worked out again from the rows it follows from.

Knows the rules of the core and streams of plain rows, and says what does not agree as findings.
Nothing is believed because a function of the database says so: digests are computed here anew.
Every rule takes its rows one by one, so that books of any size fit into little memory.

What a chain cannot show: whoever rewrites a row and every later seal with it. Against that stands
a copy of the last digest outside the database. Must not know SQL.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Final

from fluxpay.core import ledger
from fluxpay.core.books import Totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from decimal import Decimal

    from fluxpay.core.ledger import Account

_NOTHING: Final = Totals()


@dataclass(frozen=True, slots=True)
class Finding:
    """A row that does not agree with the rest of the books.

    Args:
        table: Where the row is, or should be.
        row_id: Its key within the tenant.
    """

    table: str
    row_id: str
    wrong: str


@dataclass(frozen=True, slots=True)
class TransferRow:
    """A transfer as it stands.

    Args:
        created_at_s: Seconds since 1970 with all six decimals, as the digest spells them.
    """

    tenant_id: str
    id: str
    kind: str
    layer: str
    payment_id: str | None
    debit_account_id: str
    credit_account_id: str
    amount_minor: int
    currency: str
    created_at_s: Decimal
    reverses: str | None
    description: str | None


@dataclass(frozen=True, slots=True)
class Head:
    """A seal: its number and digest. The last one vouches for all before it."""

    seq: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A transfer's place in the chain; None for each part that is not there.

    Args:
        link_transfers: How many transfers the seal says it covers.
    """

    seq: int
    link_transfers: int | None
    link_digest: bytes | None
    position: int | None
    transfer_id: str | None
    digest: bytes | None
    transfer: TransferRow | None


@dataclass(frozen=True, slots=True)
class EntryRow:
    """A line of an account's statement, and the transfer that it shows a side of.

    Args:
        sealed_as: Seal and position of its transfer.
        totals: The account's totals with this entry.
        latest_at_s: The latest creation up to here, in seconds since 1970.
    """

    account_id: str
    seq: int
    transfer_id: str
    direction: str
    layer: str
    kind: str
    payment_id: str | None
    amount_minor: int
    currency: str
    created_at_s: Decimal
    totals: Totals
    latest_at_s: Decimal
    sealed_as: tuple[int, int] | None
    transfer: TransferRow | None


@dataclass(frozen=True, slots=True)
class AccountTotals:
    """The totals of an account as the service tells them, and as its transfers add up."""

    account_id: str
    currency: str | None
    told: Totals
    summed: Totals


def transfer_digest(transfer: TransferRow) -> bytes:
    """The digest that a transfer is sealed under: SHA-256 over its columns as one JSON array."""
    parts = (
        transfer.tenant_id,
        transfer.id,
        transfer.kind,
        transfer.payment_id,
        transfer.debit_account_id,
        transfer.credit_account_id,
        transfer.amount_minor,
        transfer.currency,
        str(transfer.created_at_s),
        transfer.reverses,
        transfer.description,
    )
    spelled = json.dumps(parts, ensure_ascii=False, separators=(", ", ": "))
    return hashlib.sha256(spelled.encode()).digest()


def check_chain(rows: Iterable[LinkRow]) -> Iterator[Finding]:
    """Seals follow one another without a gap, and each follows from what it covers.

    Args:
        rows: By seal and position.
    """
    previous_seq, previous_digest = 0, b""
    for seq, of_link in groupby(rows, key=lambda row: row.seq):
        link = hashlib.sha256(previous_digest)
        count, told = 0, _Told()
        for row in of_link:
            told = _Told(row.link_transfers, row.link_digest)
            if row.transfer_id is None or row.digest is None:
                continue
            count += 1
            link.update(row.digest)
            yield from _place(row, count)
        is_next = seq == previous_seq + 1
        if not is_next:
            gone = f"{previous_seq + 1}" if seq == previous_seq + 2 else f"{previous_seq + 1}…"
            yield Finding("ledger_seals", gone, f"is missing: seal {seq} comes after a gap")
        if told.digest is None:
            yield Finding("ledger_seals", f"{seq}", f"is missing, though it covers {count}")
        elif told.transfers != count:
            wrong = f"says that it covers {told.transfers} transfers, and covers {count}"
            yield Finding("ledger_seals", f"{seq}", wrong)
        elif is_next and told.digest != link.digest():
            wrong = "does not follow from the seal before it and the digests that it covers"
            yield Finding("ledger_seals", f"{seq}", wrong)
        # What is wrong here is told here: the next link is judged by the digest that stands.
        previous_seq, previous_digest = seq, told.digest or link.digest()


def check_statements(rows: Iterable[EntryRow]) -> Iterator[Finding]:
    """Every line of a statement shows its transfer, and the totals run on from the line before.

    Args:
        rows: By account and number.
    """
    for account_id, of_account in groupby(rows, key=lambda row: row.account_id):
        before = _Line()
        for row in of_account:
            row_id = f"{account_id}#{row.seq}"
            for wrong in (*_line_faults(row, before), *_side_faults(row)):
                yield Finding("account_entries", row_id, wrong)
            before = _Line(row.seq, row.totals, row.latest_at_s, row.sealed_as)


def check_balances(rows: Iterable[AccountTotals]) -> Iterator[Finding]:
    """What the service tells of an account is the sum of its transfers; all of them balance."""
    by_currency: dict[str | None, Totals] = {}
    for row in rows:
        if row.told != row.summed:
            wrong = f"is told as {_spoken(row.told)}, and its transfers make {_spoken(row.summed)}"
            yield Finding("accounts", row.account_id, wrong)
        so_far = by_currency.get(row.currency, _NOTHING)
        sums = zip(astuple(so_far), astuple(row.told), strict=True)
        by_currency[row.currency] = Totals(*(before + told for before, told in sums))
    for currency, totals in by_currency.items():
        is_level = totals.posted_debit_minor == totals.posted_credit_minor
        if not is_level or totals.pending_debit_minor != totals.pending_credit_minor:
            wrong = f"debits and credits differ in the trial balance: {_spoken(totals)}"
            yield Finding("account_entries", f"{currency}", wrong)


def check_accounts(accounts: Iterable[Account]) -> Iterator[Finding]:
    """The id of an account follows from what it is; another kind would turn its balance round."""
    for one in accounts:
        if one != ledger.account(one.tenant_id, one.kind, one.currency):
            wrong = f"is {one.kind} in {one.currency}, and its id was made of something else"
            yield Finding("accounts", one.id, wrong)


def check_head(expected: Head, found_digest: bytes | None) -> Iterator[Finding]:
    """The seal that was written down elsewhere is still the one that stands."""
    if found_digest is None:
        yield Finding("ledger_seals", f"{expected.seq}", "is missing, and was noted outside")
    elif found_digest != expected.digest:
        wrong = f"is {found_digest.hex()}, and {expected.digest.hex()} was noted outside"
        yield Finding("ledger_seals", f"{expected.seq}", wrong)


@dataclass(frozen=True, slots=True)
class _Told:
    transfers: int | None = None
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Line:
    seq: int = 0
    totals: Totals = _NOTHING
    latest_at_s: Decimal | None = None
    sealed_as: tuple[int, int] | None = None


def _place(row: LinkRow, position: int) -> Iterator[Finding]:
    transfer_id = str(row.transfer_id)
    if row.position != position:
        wrong = f"stands at {row.position} of seal {row.seq}, where {position} comes next"
        yield Finding("sealed_transfers", transfer_id, wrong)
    if row.transfer is None:
        wrong = f"is missing, though seal {row.seq} covers it"
        yield Finding("ledger_transfers", transfer_id, wrong)
    elif transfer_digest(row.transfer) != row.digest:
        wrong = f"is not what seal {row.seq} covers: it or its digest was changed"
        yield Finding("ledger_transfers", transfer_id, wrong)


def _line_faults(row: EntryRow, before: _Line) -> Iterator[str]:
    if row.seq != before.seq + 1:
        yield f"comes after {before.seq}: lines are missing"
    expected = _with(before.totals, row)
    if row.totals != expected:
        yield f"tells {_spoken(row.totals)}, and the line before makes {_spoken(expected)}"
    latest = before.latest_at_s
    if row.latest_at_s != (row.created_at_s if latest is None else max(latest, row.created_at_s)):
        yield "tells another latest instant than the line before makes"
    if row.sealed_as is None:
        yield f"shows {row.transfer_id}, which is not sealed"
    elif before.sealed_as is not None and row.sealed_as <= before.sealed_as:
        yield f"shows {row.transfer_id}, which was sealed before the one on the line before"


def _side_faults(row: EntryRow) -> Iterator[str]:
    transfer = row.transfer
    if transfer is None:
        yield f"shows {row.transfer_id}, which does not exist"
        return
    sides = {"debit": transfer.debit_account_id, "credit": transfer.credit_account_id}
    if sides[row.direction] != row.account_id:
        yield f"is no {row.direction} of {row.transfer_id}"
    if row.amount_minor != transfer.amount_minor:
        told = f"{row.amount_minor} {row.currency}"
        yield f"tells {told}, and {row.transfer_id} moved {transfer.amount_minor}"
    columns = ("kind", "layer", "payment_id", "currency", "created_at_s")
    for column in columns:
        if getattr(row, column) != getattr(transfer, column):
            yield f"tells another {_PLAIN.get(column, column)} than {row.transfer_id}"


_PLAIN: Final = {"created_at_s": "created_at"}


def _with(totals: Totals, entry: EntryRow) -> Totals:
    """These totals with one entry more."""
    name = f"{entry.layer}_{entry.direction}_minor"
    return replace(totals, **{name: getattr(totals, name) + entry.amount_minor})


def _spoken(totals: Totals) -> str:
    posted = f"posted {totals.posted_debit_minor} debit, {totals.posted_credit_minor} credit"
    pending = f"pending {totals.pending_debit_minor} debit, {totals.pending_credit_minor} credit"
    return f"{posted}, {pending}"
