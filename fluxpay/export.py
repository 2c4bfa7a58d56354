"""`fluxpay export`: entries and balances of a tenant as CSV (RFC 4180) or JSON lines.

Knows formats, files and how an instant is written on a command line; must not know SQL. Rows are
written as they come, so an export of any size takes the same memory. Amounts are whole minor
units, instants RFC 3339 in UTC.

Values are written as they are: nothing is put in front of them to keep a spreadsheet from reading
a formula, since every column holds ids, numbers and words of ours, never a client's.
"""

from __future__ import annotations

import csv
import json
import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from fluxpay.stores import exports
from fluxpay.stores.snapshots import reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import TextIO

_DATE_CHARS: Final = len("2026-01-31")


class What(StrEnum):
    """What can be exported."""

    ENTRIES = "entries"
    BALANCES = "balances"


class Format(StrEnum):
    """How it is written."""

    CSV = "csv"
    JSONL = "jsonl"


class UnknownTenant(Exception):
    """There is no such tenant."""


class Contradiction(Exception):
    """What is asked for has no meaning."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to export.

    Args:
        since: The first instant of the period; None for all that was before `until`.
        until: The instant after the period; None for now.
    """

    what: What
    tenant_id: str
    since: datetime | None
    until: datetime | None
    format: Format


def read_instant(text: str) -> datetime:
    """Read an RFC 3339 instant, or a date: the first instant of that day in UTC.

    Raises:
        ValueError: It is neither.
    """
    moment = datetime.fromisoformat(text)
    if len(text) == _DATE_CHARS:
        return moment.replace(tzinfo=UTC)
    if moment.tzinfo is None:
        message = f"{text} has no offset from UTC"
        raise ValueError(message)
    return moment.astimezone(UTC)


def export(url: str, order: Order, out: TextIO) -> int:
    """Write all rows, and give their number.

    Raises:
        Contradiction: Balances from an instant on; they stand at one. A period that ends before
            it begins.
        UnknownTenant: There is no such tenant.
        SchemaBehind: `fluxpay migrate` has to run first.
        psycopg2.Error: The database cannot be asked.
    """
    if order.what is What.BALANCES and order.since is not None:
        raise Contradiction("balances stand at one instant; leave --from out, and give --to")
    if order.since is not None and order.until is not None and order.since > order.until:
        raise Contradiction("the period ends before it begins; give --to a later instant")
    with reading(url) as reader:
        is_named, _ = reader.standing(order.tenant_id)
        if not is_named:
            raise UnknownTenant(f"there is no tenant {order.tenant_id}")
        with reader.snapshot(order.tenant_id) as snapshot:
            if order.what is What.BALANCES:
                rows = exports.balances(snapshot, until=order.until)
                return _write(exports.BALANCE_COLUMNS, rows, out, form=order.format)
            rows = exports.entries(snapshot, since=order.since, until=order.until)
            return _write(exports.ENTRY_COLUMNS, rows, out, form=order.format)


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """A file that is there in full after the block, or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        # The books of a tenant are nobody else's business.
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123 - a descriptor, not a path
            yield file
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _write(
    columns: tuple[str, ...], rows: Iterable[exports.Row], out: TextIO, *, form: Format
) -> int:
    count = 0
    if form is Format.JSONL:
        for row in rows:
            count += 1
            document = dict(zip(columns, row, strict=True))
            out.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")
        return count
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        count += 1
        writer.writerow(row)
    return count
