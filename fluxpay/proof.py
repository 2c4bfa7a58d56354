"""Proving the books of one tenant: every check there is, and what it found.

Knows which checks there are, and how rows become findings. Must not know the rules (`core.audit`,
`core.audit_payments`), any SQL (`stores.audit`), nor who is told: the command `fluxpay verify` and
the worker both are.

A tenant is read as of one moment, so it can be proven beside a service that is writing. Memory does
not grow with the books: rows are streamed, and of each check only the first findings are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeVar

from fluxpay.core import audit, audit_payments
from fluxpay.core.audit import Finding, Head
from fluxpay.stores.audit import Books
from fluxpay.stores.snapshots import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from fluxpay.stores.snapshots import Reader, Snapshot

FINDINGS_SHOWN_MAX: Final = 100
"""Of each check and tenant; the rest is counted."""
_ROWS_A_SIGN: Final = 5_000

T = TypeVar("T")


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

    @property
    def drift(self) -> int:
        """How many rows drifted."""
        return sum(outcome.drift for outcome in self.outcomes)


class Seen:
    """Counts the rows that pass, and gives a sign of life every few thousand."""

    def __init__(self, label: str, show: Callable[[str], None]) -> None:
        self.rows = 0
        self._label = label
        self._show = show

    def __call__(self, rows: Iterable[T]) -> Iterator[T]:
        """The same rows."""
        for row in rows:
            if self.rows % _ROWS_A_SIGN == 0:
                self._show(f"{self._label}: {self.rows:,} rows")
            self.rows += 1
            yield row


CHECKS: Final[Mapping[str, Callable[[Books, Seen], Iterable[Finding]]]] = {
    "chain": lambda books, seen: audit.check_chain(seen(books.links())),
    "statements": lambda books, seen: chain(
        # A side that no line shows needs no rule: the join that finds it is the finding.
        audit.check_statements(seen(books.entries())),
        books.untold_sides(),
    ),
    "balances": lambda books, seen: chain(
        audit.check_balances(seen(books.balances())),
        audit.check_accounts(books.accounts()),
    ),
    "transfers": lambda books, seen: audit_payments.check_transfers(seen(books.transfers())),
    "payments": lambda books, seen: audit_payments.check_payments(seen(books.payments())),
    "refunds": lambda books, seen: audit_payments.check_refunds(seen(books.refunds())),
    "records": lambda books, seen: audit_payments.check_records(seen(books.records())),
    "events": lambda books, seen: audit_payments.check_events(seen(books.events())),
}


def prove(
    reader: Reader,
    tenant_id: str,
    *,
    has_row: bool,
    expected: Head | None = None,
    show: Callable[[str], None],
) -> Verified:
    """Put one tenant's books through all checks.

    Args:
        has_row: Whether the tenant's own row is there.
        expected: The seal that was noted outside, if one was.
        show: Told how far it is, now and then; what it raises ends the proof.

    Raises:
        psycopg2.Error: The database cannot be asked.
    """
    with reader.snapshot(tenant_id) as snapshot:
        books, outcomes = Books(snapshot), list[Outcome]()
        for check in CHECKS:
            seen = Seen(f"{tenant_id} {check}", show)
            findings = _attempted(snapshot, books, check=check, seen=seen)
            if check == "chain":
                findings = chain(_tenant_faults(tenant_id, has_row=has_row), findings)
                if expected is not None:
                    noted = audit.check_head(expected, books.digest_of(expected.seq))
                    findings = chain(noted, findings)
            outcomes.append(_outcome(check, findings, seen))
        head = books.head()
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
