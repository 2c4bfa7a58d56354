"""`fluxpay export` writes entries and balances of a period as CSV and as JSON lines."""

import asyncio
import csv
import io
import json
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fluxpay.embedded.postgres import EmbeddedPostgres
from fluxpay.stores.exports import BALANCE_COLUMNS, ENTRY_COLUMNS
from tests.conftest import Database
from tests.e2e.ledgers import Ledger, copy_of, drop, fluxpay, rows, write_ledger


@pytest.fixture(scope="module")
def books(postgres: EmbeddedPostgres, template: str) -> Iterator[tuple[Database, Ledger]]:
    """Books that nobody changes."""
    database = copy_of(postgres, f"test_{uuid.uuid4().hex}", template)
    yield database, asyncio.run(write_ledger(database.app_url))
    drop(postgres, database.name)


def exported(books: tuple[Database, Ledger], *arguments: str) -> list[dict[str, Any]]:
    database, ledger = books
    done = fluxpay(
        "export",
        *arguments,
        "--tenant",
        ledger.tenant,
        "--format",
        "jsonl",
        FLUXPAY_DATABASE_URL=database.app_url,
    )
    assert (0, "") == (done.returncode, done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def in_books(books: tuple[Database, Ledger]) -> list[tuple[object, ...]]:
    database, ledger = books
    return rows(
        database.owner_url,
        """
        SELECT id, account_id, layer, direction, amount,
               to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
        FROM ledger_entries WHERE tenant_id = %(tenant)s ORDER BY created_at, id
        """,
        {"tenant": ledger.tenant},
    )


def shown(entry: dict[str, Any]) -> tuple[object, ...]:
    names = ("id", "account_id", "layer", "direction", "amount", "created_at")
    return tuple(entry[name] for name in names)


def test_entries_are_all_there_oldest_first_sealed_or_not(books: tuple[Database, Ledger]) -> None:
    entries = exported(books, "entries")
    assert in_books(books) == [shown(entry) for entry in entries]
    assert 34 == len(entries)
    assert {ENTRY_COLUMNS} == {tuple(entry) for entry in entries}


def test_csv_holds_what_json_lines_hold(books: tuple[Database, Ledger]) -> None:
    database, ledger = books
    for what, columns in (("entries", ENTRY_COLUMNS), ("balances", BALANCE_COLUMNS)):
        done = fluxpay(
            *("export", what, "--tenant", ledger.tenant, "--format", "csv"),
            FLUXPAY_DATABASE_URL=database.app_url,
        )
        assert 0 == done.returncode
        told = list(csv.reader(io.StringIO(done.stdout)))
        lines = [
            ["" if one is None else str(one) for one in row.values()]
            for row in exported(books, what)
        ]
        assert [list(columns), *lines] == told


def test_csv_ends_its_lines_as_the_rfc_says_in_a_file_for_its_owner_alone(
    books: tuple[Database, Ledger], tmp_path: Path
) -> None:
    database, ledger = books
    path = tmp_path / "balances.csv"
    done = fluxpay(
        *("export", "balances", "--tenant", ledger.tenant, "--format", "csv"),
        *("--output", str(path)),
        FLUXPAY_DATABASE_URL=database.app_url,
    )
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    raw = path.read_bytes()
    assert 3 == raw.count(b"\r\n") == raw.count(b"\n")
    assert 0o600 == path.stat().st_mode & 0o777
    assert [path] == list(tmp_path.iterdir())


def test_balances_at_the_end_are_those_at_the_start_and_the_entries_between(
    books: tuple[Database, Ledger],
) -> None:
    instants = sorted({entry["created_at"] for entry in exported(books, "entries")})
    for start, end in ((instants[0], instants[4]), (instants[4], instants[9])):
        moved = Counter[tuple[str, str]]()
        for entry in exported(books, "entries", "--from", start, "--to", end):
            assert start <= entry["created_at"] < end
            moved[entry["account_id"], f"{entry['layer']}_{entry['direction']}"] += entry["amount"]
        before = _totals(exported(books, "balances", "--to", start))
        after = _totals(exported(books, "balances", "--to", end))
        assert len(moved) > 0
        assert after == before + moved


def test_a_balance_is_told_from_the_side_of_its_account(books: tuple[Database, Ledger]) -> None:
    balances = {one["kind"]: one for one in exported(books, "balances")}
    held = {
        kind: (one["posted"], one["pending"], one["available"]) for kind, one in balances.items()
    }
    assert {"merchant": (1810, 900, 1810), "platform": (1810, 900, 1810)} == held


def test_a_date_is_its_first_instant_in_utc(books: tuple[Database, Ledger]) -> None:
    assert [] == exported(books, "entries", "--to", "2020-01-01")
    assert 34 == len(exported(books, "entries", "--from", "2020-01-01", "--to", "2999-01-01"))


def test_another_tenants_rows_stay_out(books: tuple[Database, Ledger]) -> None:
    database, ledger = books
    mine = {entry["transfer_id"] for entry in exported(books, "entries")}
    for url in (database.app_url, database.owner_url):
        done = fluxpay(
            *("export", "entries", "--tenant", ledger.other_tenant, "--format", "jsonl"),
            FLUXPAY_DATABASE_URL=url,
        )
        theirs = {json.loads(line)["transfer_id"] for line in done.stdout.splitlines()}
        assert (1, set()) == (len(theirs), mine & theirs)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("entries", "--tenant", "ten_x"), 1, "there is no tenant ten_x"),
        (
            ("balances", "--tenant", "ten_x", "--from", "2026-01-01"),
            2,
            "balances stand at one instant; leave --from out, and give --to",
        ),
        (
            ("entries", "--tenant", "ten_x", "--from", "2026-02-01", "--to", "2026-01-01"),
            2,
            "the period ends before it begins; give --to a later instant",
        ),
        (
            ("entries", "--tenant", "ten_x", "--to", "2026-01-01T00:00:00"),
            2,
            (
                "argument --to: '2026-01-01T00:00:00' is no instant; write 2026-01-31 or "
                "2026-01-31T12:00:00Z; run: fluxpay export --help"
            ),
        ),
        (
            ("entries", "--tenant", "ten_x", "--to", "9999-12-31T23:59:59-01:00"),
            2,
            (
                "argument --to: '9999-12-31T23:59:59-01:00' is no instant; write 2026-01-31 or "
                "2026-01-31T12:00:00Z; run: fluxpay export --help"
            ),
        ),
    ],
)
def test_what_cannot_be_exported_is_told_in_one_line(
    books: tuple[Database, Ledger], arguments: tuple[str, ...], code: int, told: str
) -> None:
    database, _ = books
    done = fluxpay("export", *arguments, "--format", "csv", FLUXPAY_DATABASE_URL=database.app_url)
    assert (code, f"fluxpay: {told}\n", "") == (done.returncode, done.stderr, done.stdout)


def test_a_file_is_there_in_full_or_not_at_all(
    books: tuple[Database, Ledger], tmp_path: Path
) -> None:
    database, _ = books
    path = tmp_path / "entries.csv"
    path.write_text("what was there before")
    done = fluxpay(
        *("export", "entries", "--tenant", "ten_x", "--format", "csv", "--output", str(path)),
        FLUXPAY_DATABASE_URL=database.app_url,
    )
    assert 1 == done.returncode
    assert "what was there before" == path.read_text()
    assert [path] == list(tmp_path.iterdir())


def _totals(balances: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    sides = [f"{layer}_{side}" for layer in ("posted", "pending") for side in ("debit", "credit")]
    return Counter(
        {(one["account_id"], side): one[side] for one in balances for side in sides if one[side]}
    )
