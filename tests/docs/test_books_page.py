"""The example of balances is worked by a real database; the example of drift is what is told."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from fluxpay.core.audit import LinkRow, TransferRow, check_chain
from tests.conftest import Database
from tests.docs.pages import read, table
from tests.stores.ledger_sessions import Ledger, instant, sessions

PAGE = read("docs/explanation/books.md")
LINES = table(PAGE, "The statement")
ANSWERS = table(PAGE, "The answers")
SEALED = [row for row in LINES if row[0].isdecimal()]


def second(told: str) -> int:
    """The seconds of an instant such as `12:00:05`."""
    return int(told.removeprefix("12:00:"))


def write(ledger: Ledger, session: int, row: list[str]) -> None:
    """Write the transfer of a row, uncommitted."""
    _, made, amount, *_ = row
    ledger.post(session, second=second(made), amount_minor=int(amount))


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    """The ledger of the example: the third transfer commits after the second was sealed."""
    with sessions(database) as opened, opened.ledger() as one:
        first, quick, slow, newest = LINES
        write(one, 0, first)
        one.commit(0)
        one.seal_until(1)
        write(one, 0, quick)
        write(one, 1, slow)
        one.commit(0)
        one.seal_until(1)
        one.commit(1)
        one.seal_until(1)
        write(one, 2, newest)
        one.commit(2)
        yield one


def test_the_statement_of_the_example_is_what_sealing_writes(ledger: Ledger) -> None:
    with ledger.owner.cursor() as sql:
        sql.execute(
            "SELECT seq, created_at, amount, posted_credit, latest_at FROM account_entries "
            "WHERE account_id = %s ORDER BY seq",
            (ledger.account_ids[0],),
        )
        found = [tuple(row) for row in sql.fetchall()]
    shown = [
        (int(line), instant(second(made)), int(amount), int(total), instant(second(latest)))
        for line, made, amount, total, latest in SEALED
    ]
    assert shown == found


@pytest.mark.parametrize("row", ANSWERS, ids=" ".join)
def test_the_balances_of_the_example_are_what_the_database_answers(
    row: list[str], ledger: Ledger
) -> None:
    asked_at, *parts, balance = row
    with ledger.owner.cursor() as sql:
        sql.execute("SELECT set_config('fluxpay.tenant', %s, false)", (ledger.tenant_id,))
        sql.execute(
            "SELECT posted_credit FROM account_totals(ARRAY[%s], %s)",
            (ledger.account_ids[0], instant(second(asked_at))),
        )
        answer = sql.fetchone()
    assert answer == (int(balance),)
    assert sum(map(int, parts)) == int(balance)


def test_the_shown_drift_is_how_a_changed_amount_is_told() -> None:
    shown = next(
        line
        for line in read("docs/how-to/close-the-books.md").splitlines()
        if line.startswith("  DRIFT ledger_transfers ")
    )
    transfer = TransferRow(
        tenant_id="ten_1",
        id=shown.split()[2],
        kind="capture",
        layer="posted",
        payment_id="pay_1",
        debit_account_id="acc_1",
        credit_account_id="acc_2",
        amount_minor=1250,
        currency="EUR",
        created_at_s=Decimal("1.000000"),
        reverses=None,
        description=None,
    )
    link = LinkRow(
        seq=2,
        link_transfers=1,
        link_digest=bytes(32),
        position=1,
        transfer_id=transfer.id,
        # Of what the transfer was before somebody changed it.
        digest=bytes(32),
        transfer=transfer,
    )
    told = [f"  DRIFT {one.table} {one.row_id} {one.wrong}" for one in check_chain([link])]
    assert [shown] == [line for line in told if " ledger_transfers " in line]
