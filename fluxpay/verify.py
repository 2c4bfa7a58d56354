"""`fluxpay verify`: proves the books of every tenant, and tells where they do not hold.

Knows which checks there are, how a verdict looks, and how to show progress. Must not know the
rules (`core.audit`, `core.audit_payments`) nor any SQL (`stores.audit`).

Each tenant is read as of one moment, so it can run beside a service that is writing. Memory does
not grow with the books: rows are streamed, and of each check only the first findings are kept.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fluxpay.core import audit, audit_payments
from fluxpay.core.audit import Finding, Head
from fluxpay.stores.audit import Books
from fluxpay.stores.snapshots import UNREADABLE, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import TextIO

    from fluxpay.stores.snapshots import Reader, Snapshot

FINDINGS_SHOWN_MAX: Final = 100
"""Of each check and tenant; the rest is counted."""
_ROWS_A_SIGN: Final = 5_000
_TABLE_LINE: Final = "{:<30}  {:<10}  {:>12}  {:>8}\n"

T = TypeVar("T")


class UnknownTenant(Exception):
    """No row of the database names this tenant."""


class UnreadableHeads(Exception):
    """The file is not what `fluxpay verify --json` prints."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check found: how many rows it read, how many drifted, and the first of those."""

    check: str
    rows: int
    drift: int
    shown: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Verified:
    """A tenant after all its checks, and its last seal: keep a copy of that elsewhere."""

    tenant_id: str
    head: Head | None
    outcomes: tuple[Outcome, ...]


class Progress:
    """One line that is written over and over, on a terminal only."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_shown = stream.isatty()

    def show(self, text: str) -> None:
        """Write over what was shown before."""
        if self._is_shown:
            self._stream.write(f"\r\x1b[K{text}")
            self._stream.flush()


class Seen:
    """Counts the rows that pass, and shows a sign of life every few thousand."""

    def __init__(self, label: str, progress: Progress) -> None:
        self.rows = 0
        self._label = label
        self._progress = progress

    def __call__(self, rows: Iterable[T]) -> Iterator[T]:
        """The same rows."""
        for row in rows:
            if self.rows % _ROWS_A_SIGN == 0:
                self._progress.show(f"{self._label}: {self.rows:,} rows")
            self.rows += 1
            yield row


CHECKS: Final[Mapping[str, Callable[[Books, Seen], Iterable[Finding]]]] = {
    "chain": lambda books, seen: audit.check_chain(seen(books.links())),
    "statements": lambda books, seen: chain(
        # A side that no line shows needs no rule: the join that finds it is the finding.
        audit.check_statements(seen(books.entries())),
        books.untold_sides(),
    ),
    "balances": lambda books, seen: audit.check_balances(seen(books.balances())),
    "transfers": lambda books, seen: audit_payments.check_transfers(seen(books.transfers())),
    "payments": lambda books, seen: audit_payments.check_payments(seen(books.payments())),
    "refunds": lambda books, seen: audit_payments.check_refunds(seen(books.refunds())),
    "records": lambda books, seen: audit_payments.check_records(seen(books.records())),
    "events": lambda books, seen: audit_payments.check_events(seen(books.events())),
}


def verify(
    url: str,
    *,
    tenant_id: str | None,
    expected: Mapping[str, Head],
    progress: Progress,
) -> Iterator[Verified]:
    """Check one tenant, or all.

    Args:
        url: The database, as any role that may read it.
        tenant_id: Which one; None for all.
        expected: The seals that were noted outside, by tenant.
        progress: Where to show how far it is.

    Raises:
        UnknownTenant: There is no such tenant.
        SchemaBehind: `fluxpay migrate` has to run first.
        psycopg2.Error: The database cannot be asked.
    """
    with reading(url) as reader:
        for one, has_row in _tenants(reader, tenant_id, expected):
            seal = expected.get(one)
            yield _verify_tenant(reader, one, has_row=has_row, expected=seal, progress=progress)


def report(verified: Iterable[Verified], out: TextIO, *, as_json: bool) -> bool:
    """Write what was found as it is found, and tell whether the books are sound."""
    return _report_json(verified, out) if as_json else _report_table(verified, out)


def read_heads(path: Path) -> dict[str, Head]:
    """The seals in a file that an earlier `fluxpay verify --json` printed, by tenant.

    Raises:
        UnreadableHeads: The file holds something else.
        OSError: The file cannot be read.
    """
    try:
        tenants: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["tenants"]
        return {
            one["tenant_id"]: Head(int(one["head"]["seq"]), bytes.fromhex(one["head"]["digest"]))
            for one in tenants
            if one["head"] is not None
        }
    except (KeyError, TypeError, ValueError) as error:
        message = f"{path} is not what fluxpay verify --json prints"
        raise UnreadableHeads(message) from error


def _tenants(
    reader: Reader, tenant_id: str | None, expected: Mapping[str, Head]
) -> Iterator[tuple[str, bool]]:
    if tenant_id is not None:
        is_named, has_row = reader.standing(tenant_id)
        if not is_named and tenant_id not in expected:
            raise UnknownTenant(f"there is no tenant {tenant_id}")
        yield tenant_id, has_row
        return
    # Who was noted outside, and is nowhere in the database, was deleted with all the books.
    gone = set(expected)
    for one, has_row in reader.tenants():
        gone.discard(one)
        yield one, has_row
    for one in sorted(gone):
        yield one, False


def _verify_tenant(
    reader: Reader, tenant_id: str, *, has_row: bool, expected: Head | None, progress: Progress
) -> Verified:
    with reader.snapshot(tenant_id) as snapshot:
        books, outcomes = Books(snapshot), list[Outcome]()
        for check in CHECKS:
            seen = Seen(f"{tenant_id} {check}", progress)
            findings = _attempted(snapshot, books, check=check, seen=seen)
            if check == "chain":
                findings = chain(_tenant_faults(tenant_id, has_row=has_row), findings)
                if expected is not None:
                    noted = audit.check_head(expected, books.digest_of(expected.seq))
                    findings = chain(noted, findings)
            outcomes.append(_outcome(check, findings, seen))
        head = books.head()
    progress.show("")
    return Verified(tenant_id, head, tuple(outcomes))


def _attempted(snapshot: Snapshot, books: Books, *, check: str, seen: Seen) -> Iterator[Finding]:
    try:
        with snapshot.attempt():
            yield from CHECKS[check](books, seen)
    except UNREADABLE as error:
        # An edited value may be one that cannot even be read. That is a finding, and no end.
        yield Finding(check, "?", f"cannot be read to the end: {' '.join(str(error).split())}")


def _tenant_faults(tenant_id: str, *, has_row: bool) -> Iterator[Finding]:
    if not has_row:
        yield Finding("tenants", tenant_id, "is missing, though there are books of it")


def _outcome(check: str, findings: Iterable[Finding], seen: Seen) -> Outcome:
    drift, shown = 0, list[Finding]()
    for finding in findings:
        drift += 1
        if drift <= FINDINGS_SHOWN_MAX:
            shown.append(finding)
    return Outcome(check, seen.rows, drift, tuple(shown))


@dataclass(slots=True)
class _Sum:
    """What the verdict counts."""

    tenants: int = 0
    payments: int = 0
    transfers: int = 0
    drift: int = 0
    drifted_tenants: int = 0

    def add(self, verified: Verified) -> None:
        rows = {outcome.check: outcome.rows for outcome in verified.outcomes}
        drift = sum(outcome.drift for outcome in verified.outcomes)
        self.tenants += 1
        self.payments += rows["payments"]
        self.transfers += rows["transfers"]
        self.drift += drift
        self.drifted_tenants += drift > 0

    def verdict(self) -> str:
        counted = f"{self.tenants} tenants, {self.payments} payments, {self.transfers} transfers"
        if self.drift == 0:
            return f"books are sound: {counted}"
        return f"DRIFT: {self.drift} findings in {self.drifted_tenants} of {counted}"


def _report_table(verified: Iterable[Verified], out: TextIO) -> bool:
    total = _Sum()
    out.write(_TABLE_LINE.format("TENANT", "CHECK", "ROWS", "DRIFT"))
    for one in verified:
        total.add(one)
        for outcome in one.outcomes:
            line = _TABLE_LINE.format(one.tenant_id, outcome.check, outcome.rows, outcome.drift)
            out.write(line)
            out.writelines(
                f"  DRIFT {finding.table} {finding.row_id} {finding.wrong}\n"
                for finding in outcome.shown
            )
            if outcome.drift > len(outcome.shown):
                out.write(
                    f"  DRIFT and {outcome.drift - len(outcome.shown)} more of {outcome.check}\n"
                )
        out.flush()
    out.write(f"{total.verdict()}\n")
    return total.drift == 0


def _report_json(verified: Iterable[Verified], out: TextIO) -> bool:
    total = _Sum()
    separator = '{"tenants": [\n'
    for one in verified:
        total.add(one)
        out.write(separator + json.dumps(_document(one)))
        separator = ",\n"
    opening = separator if total.tenants == 0 else ""
    is_sound = json.dumps(total.drift == 0)
    out.write(f'{opening}\n], "sound": {is_sound}, "verdict": {json.dumps(total.verdict())}}}\n')
    return total.drift == 0


def _document(one: Verified) -> dict[str, object]:
    head = one.head
    return {
        "tenant_id": one.tenant_id,
        "head": None if head is None else {"seq": head.seq, "digest": head.digest.hex()},
        "checks": [
            {
                "check": outcome.check,
                "rows": outcome.rows,
                "drift": outcome.drift,
                "findings": [
                    {"table": finding.table, "id": finding.row_id, "wrong": finding.wrong}
                    for finding in outcome.shown
                ],
            }
            for outcome in one.outcomes
        ],
    }
