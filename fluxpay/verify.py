"""`fluxpay verify`: proves the books of every tenant, and tells where they do not hold.

Knows whose books are to be proven, how a verdict looks, and how to show progress. Must not know
how books are proven (`proof`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fluxpay.core.audit import Head
from fluxpay.proof import Verified, prove
from fluxpay.stores.snapshots import reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import TextIO

    from fluxpay.stores.snapshots import Reader

_TABLE_LINE: Final = "{:<30}  {:<10}  {:>12}  {:>8}\n"


class UnknownTenant(Exception):
    """No row of the database names this tenant."""


class UnreadableHeads(Exception):
    """The file is not what `fluxpay verify --json` prints."""


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
            yield prove(reader, one, has_row=has_row, expected=seal, show=progress.show)
            progress.show("")


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
        self.tenants += 1
        self.payments += rows["payments"]
        self.transfers += rows["transfers"]
        self.drift += verified.drift
        self.drifted_tenants += verified.drift > 0

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
