"""`fluxpay verify` proves sound books sound, and names the row of every tampering."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from fluxpay.core.audit import Head
from fluxpay.core.ids import IdKind, encode
from fluxpay.core.payments import Action, CaptureMode
from fluxpay.embedded.postgres import EmbeddedPostgres
from fluxpay.proof import FINDINGS_SHOWN_MAX
from fluxpay.stores.audit import Books
from fluxpay.stores.connection import SessionLimits
from fluxpay.stores.database import Database as Service
from fluxpay.stores.snapshots import reading
from fluxpay.stores.transfers import Transfers
from fluxpay.verify import Progress, report, verify
from tests.conftest import Database
from tests.e2e.ledgers import (
    Bookkeeper,
    Ledger,
    copy_of,
    drop,
    fluxpay,
    rows,
    tamper,
    write_ledger,
)
from tests.e2e.tampering import SEALS, TAMPERINGS, Tampering, rewrite_everything
from tests.stores.purses import purses

SOUND = "books are sound: 2 tenants, 8 payments, 18 transfers"


@dataclass(frozen=True, slots=True)
class Written:
    """Sound books, and the database that they were written to."""

    ledger: Ledger
    name: str


@pytest.fixture(scope="module")
def written(postgres: EmbeddedPostgres, template: str) -> Iterator[Written]:
    """Sound books, to be copied."""
    name = f"test_{uuid.uuid4().hex}"
    database = copy_of(postgres, name, template)
    yield Written(asyncio.run(write_ledger(database.app_url)), name)
    drop(postgres, name)


@pytest.fixture
def books(postgres: EmbeddedPostgres, written: Written) -> Iterator[Database]:
    """A fresh copy of them."""
    name = f"test_{uuid.uuid4().hex}"
    yield copy_of(postgres, name, written.name)
    drop(postgres, name)


def prove(url: str, *, tenant_id: str | None = None, head: Head | None = None) -> tuple[bool, Any]:
    """The verdict, and all that `--json` prints with it."""
    out = StringIO()
    expected = {} if head is None or tenant_id is None else {tenant_id: head}
    verified = verify(url, tenant_id=tenant_id, expected=expected, progress=Progress(StringIO()))
    is_sound = report(verified, out, as_json=True)
    return is_sound, json.loads(out.getvalue())


def findings(document: Any) -> list[tuple[str, str]]:
    return [
        (finding["table"], finding["id"])
        for tenant in document["tenants"]
        for check in tenant["checks"]
        for finding in check["findings"]
    ]


def test_sound_books_are_told_so_in_one_line_at_the_end(books: Database) -> None:
    done = fluxpay("verify", FLUXPAY_DATABASE_URL=books.app_url)
    assert (0, "") == (done.returncode, done.stderr)
    lines = done.stdout.splitlines()
    assert SOUND == lines[-1]
    assert ["TENANT", "CHECK", "ROWS", "DRIFT"] == lines[0].split()
    assert {"0"} == {line.split()[-1] for line in lines[1:-1]}


def test_the_owner_may_prove_the_books_as_well(books: Database) -> None:
    done = fluxpay("verify", FLUXPAY_OWNER_DATABASE_URL=books.owner_url)
    assert (0, SOUND) == (done.returncode, done.stdout.splitlines()[-1])


def test_one_tenant_can_be_proved_alone(books: Database, written: Written) -> None:
    tenant = written.ledger.other_tenant
    done = fluxpay("verify", "--tenant", tenant, FLUXPAY_DATABASE_URL=books.app_url)
    told = "books are sound: 1 tenants, 1 payments, 1 transfers"
    assert (0, told) == (done.returncode, done.stdout.splitlines()[-1])
    assert {tenant} == {line.split()[0] for line in done.stdout.splitlines()[1:-1]}


def test_empty_books_are_sound(database: Database) -> None:
    is_sound, document = prove(database.app_url)
    told = "books are sound: 0 tenants, 0 payments, 0 transfers"
    assert (True, {"tenants": [], "sound": True, "verdict": told}) == (is_sound, document)


def test_every_tampering_is_another_one() -> None:
    assert len(TAMPERINGS) == len({one.name for one in TAMPERINGS})


@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda one: one.name)
def test_the_row_is_named_when(tampering: Tampering, books: Database, written: Written) -> None:
    tamper(books.owner_url, *tampering.statements(written.ledger))
    is_sound, document = prove(books.app_url)
    assert not is_sound
    assert tampering.row(written.ledger) in findings(document)


def test_drift_ends_with_exit_code_1_and_a_line_for_each_finding(
    books: Database, written: Written
) -> None:
    payment = written.ledger.captured
    tamper(books.owner_url, f"UPDATE payments SET status = 'refunded' WHERE id = '{payment}'")
    done = fluxpay("verify", FLUXPAY_DATABASE_URL=books.app_url)
    assert (1, "") == (done.returncode, done.stderr)
    lines = done.stdout.splitlines()
    wrong = "is refunded, and its transfers and events make it captured"
    assert [f"  DRIFT payments {payment} {wrong}"] == [
        line for line in lines if line.startswith("  DRIFT")
    ]
    assert "DRIFT: 1 findings in 1 of 2 tenants, 8 payments, 18 transfers" == lines[-1]


def test_what_is_rewritten_to_the_last_seal_is_shown_by_a_head_that_was_noted_outside(
    books: Database, written: Written, tmp_path: Path
) -> None:
    noted = tmp_path / "heads.json"
    noted.write_text(fluxpay("verify", "--json", FLUXPAY_DATABASE_URL=books.app_url).stdout)
    arguments = ("verify", "--expect-head", str(noted))
    assert 0 == fluxpay(*arguments, FLUXPAY_DATABASE_URL=books.app_url).returncode
    tamper(books.owner_url, *rewrite_everything(written.ledger))
    # The limit of a chain: it holds again, since every link was made anew.
    assert 0 == fluxpay("verify", FLUXPAY_DATABASE_URL=books.app_url).returncode
    done = fluxpay(*arguments, FLUXPAY_DATABASE_URL=books.app_url)
    assert 1 == done.returncode
    assert f"DRIFT ledger_seals {SEALS} is " in done.stdout


def test_a_tenant_that_was_wiped_out_is_missed_by_a_head_that_was_noted_outside(
    database: Database,
) -> None:
    gone = encode(IdKind.TENANT, uuid.uuid4().int)
    is_sound, document = prove(database.app_url, tenant_id=gone, head=Head(3, bytes(32)))
    assert not is_sound
    assert [("ledger_seals", "3"), ("tenants", gone)] == findings(document)


def test_a_head_that_was_noted_early_holds_while_the_chain_grows(
    books: Database, written: Written
) -> None:
    tenant = written.ledger.tenant
    ((digest,),) = rows(
        books.owner_url,
        "SELECT digest FROM ledger_seals WHERE tenant_id = %(tenant)s AND seq = 2",
        {"tenant": tenant},
    )
    assert isinstance(digest, memoryview)
    is_sound, _ = prove(books.app_url, tenant_id=tenant, head=Head(2, bytes(digest)))
    assert is_sound


def test_of_many_findings_the_first_are_shown_and_all_are_counted(
    books: Database, written: Written
) -> None:
    many = FINDINGS_SHOWN_MAX + 20
    tamper(
        books.owner_url,
        f"""
        INSERT INTO events (tenant_id, id, type, subject_id, data, created_at)
        SELECT '{written.ledger.tenant}', 'evt_forged_' || n, 'payment.captured', 'pay_' || n,
               json_build_object('id', 'pay_' || n), now()
        FROM generate_series(1, {many}) AS n
        """,
    )
    is_sound, document = prove(books.app_url)
    assert not is_sound
    assert FINDINGS_SHOWN_MAX == len(findings(document))
    assert (
        f"DRIFT: {many} findings in 1 of 2 tenants, 8 payments, 18 transfers"
        == (document["verdict"])
    )


def test_a_payment_older_than_its_record_needs_none(books: Database, written: Written) -> None:
    payment = written.ledger.captured
    condition = f"subject_id = '{payment}'"
    tamper(
        books.owner_url,
        f"DELETE FROM idempotency_records WHERE resource_id = '{payment}'",
        f"UPDATE payments SET created_at = created_at - interval '3 days' WHERE id = '{payment}'",
        # So that the age is all that this is about, its event tells the same instant.
        f"""
        UPDATE events SET data = jsonb_set(data::jsonb, '{{created_at}}', to_jsonb(
            to_char(p.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')))::json
        FROM payments p WHERE p.id = subject_id AND {condition}
        """,
    )
    is_sound, document = prove(books.app_url)
    assert ([], True) == (findings(document), is_sound)


async def test_a_clients_transfer_is_proved_by_its_event_and_the_reply_to_it(
    database: Database,
) -> None:
    pool = Service(database.app_url, limits=SessionLimits()).pool(max_size=1)
    made = await purses(pool, reserve_minor=500)
    await Transfers(pool).post(made.moving(200, key="k"))
    await pool.close()
    ((transfer,),) = rows(
        database.owner_url,
        "SELECT resource_id FROM idempotency_records WHERE idempotency_key = 'k'",
    )
    nobodys = [("tenants", made.tenant_id)]
    assert nobodys == findings(prove(database.app_url)[1])
    tamper(
        database.owner_url,
        """
        UPDATE idempotency_records SET body = replace(body, '"amount":200', '"amount":201')
        WHERE idempotency_key = 'k'
        """,
    )
    reply = [("idempotency_records", "k")]
    assert [*nobodys, *reply] == findings(prove(database.app_url)[1])
    tamper(
        database.owner_url,
        f"""
        UPDATE events SET data = replace(data::text, '"amount":200', '"amount":201')::json
        WHERE subject_id = '{transfer}'
        """,
    )
    # Now both say the same, and it is not what the transfer says.
    event = [("ledger_transfers", transfer)]
    assert [*nobodys, *event] == findings(prove(database.app_url)[1])


async def test_books_that_are_being_written_are_proved_as_they_are_at_one_moment(
    books: Database,
) -> None:
    pool = Service(books.app_url, limits=SessionLimits()).pool(max_size=2)
    tenant = encode(IdKind.TENANT, uuid.uuid4().int)
    keeper = Bookkeeper(pool, tenant, datetime.now(UTC))
    await keeper.enrolled()
    is_enough = asyncio.Event()

    async def keep_writing() -> int:
        count = 0
        while not is_enough.is_set():
            payment = await keeper.pay(100, CaptureMode.MANUAL)
            await keeper.change(payment, Action.CAPTURE, 60)
            await keeper.seal()
            await keeper.change(payment, Action.REFUND, 10)
            await keeper.change(payment, Action.VOID)
            count += 1
        return count

    writing = asyncio.create_task(keep_writing())
    told = [await asyncio.to_thread(prove, books.app_url, tenant_id=tenant) for _ in range(6)]
    is_enough.set()
    assert await writing > 0
    await keeper.close()
    await pool.close()
    assert [(True, [])] * 6 == [(is_sound, findings(document)) for is_sound, document in told]


async def test_all_checks_of_a_tenant_read_the_same_moment(
    books: Database, written: Written
) -> None:
    pool = Service(books.app_url, limits=SessionLimits()).pool(max_size=1)
    keeper = Bookkeeper(pool, written.ledger.tenant, datetime.now(UTC), key_prefix="later")
    with reading(books.app_url) as reader:
        with reader.snapshot(written.ledger.tenant) as snapshot:
            before = len(list(Books(snapshot).payments()))
            await keeper.pay(100)
            assert before == len(list(Books(snapshot).payments()))
        with reader.snapshot(written.ledger.tenant) as snapshot:
            assert before + 1 == len(list(Books(snapshot).payments()))
    await keeper.close()
    await pool.close()


def test_books_that_were_restored_elsewhere_are_sound_before_and_after_the_next_sealing(
    books: Database,
) -> None:
    tamper(
        books.owner_url,
        # A dump keeps the numbers of its transactions, and meets a system whose own are smaller.
        "UPDATE ledger_transfers SET committed_in = committed_in + 1000000000",
        "UPDATE ledger_horizon SET sealed_below = sealed_below + 1000000000, system_identifier = 1",
    )
    assert SOUND == prove(books.app_url)[1]["verdict"]
    tamper(books.owner_url, "SELECT seal_ledger(1000)")
    is_here = "SELECT h.system_identifier = c.system_identifier FROM ledger_horizon h, "
    assert [(True,)] == rows(books.owner_url, is_here + "pg_control_system() c")
    assert SOUND == prove(books.app_url)[1]["verdict"]


def test_an_unknown_tenant_is_told_in_one_line(database: Database) -> None:
    done = fluxpay("verify", "--tenant", "ten_x", FLUXPAY_DATABASE_URL=database.app_url)
    assert (1, "fluxpay: there is no tenant ten_x\n") == (done.returncode, done.stderr)


def test_a_file_that_holds_no_heads_is_told_in_one_line(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "heads.json"
    path.write_text("[]")
    done = fluxpay("verify", "--expect-head", str(path), FLUXPAY_DATABASE_URL=database.app_url)
    told = f"fluxpay: {path} is not what fluxpay verify --json prints\n"
    assert (1, told) == (done.returncode, done.stderr)


def test_without_a_database_url_the_missing_variable_is_named() -> None:
    done = fluxpay("verify")
    assert 2 == done.returncode
    assert done.stderr.startswith("fluxpay: FLUXPAY_DATABASE_URL ")
