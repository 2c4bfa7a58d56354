"""What Postgres itself refuses, whatever the service above it believes."""

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from psycopg2 import errors, extensions

from fluxpay.stores.pool import Pool
from fluxpay.stores.writer import PaymentWriter
from tests.conftest import Database
from tests.stores.postings import posting, tenant_id

TENANT_TABLES = ("payments", "accounts", "ledger_transfers", "idempotency_records", "events")
READABLE = (*TENANT_TABLES, "ledger_entries", "tenants", "api_keys")


@pytest.fixture
async def tenants(pool: Pool) -> tuple[str, str]:
    """Two tenants with a payment each."""
    writer = PaymentWriter(pool, batch_max=8, writers_max=1)
    one, other = tenant_id(), tenant_id()
    await writer.post(posting(one, "k"))
    await writer.post(posting(other, "k"))
    return one, other


@pytest.fixture
def app(database: Database) -> Iterator[extensions.connection]:
    """A session of the service's role, in a transaction, with no tenant set."""
    with closing(psycopg2.connect(database.app_url)) as connection:
        yield connection


def count(connection: extensions.connection, table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])


def become(connection: extensions.connection, tenant: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('fluxpay.tenant', %s, true)", (tenant,))


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize("table", READABLE)
def test_a_select_without_a_tenant_sees_nothing(app: extensions.connection, table: str) -> None:
    assert 0 == count(app, table)


@pytest.mark.parametrize("table", READABLE)
def test_a_select_after_a_tenants_transaction_sees_nothing(
    app: extensions.connection, tenants: tuple[str, str], table: str
) -> None:
    become(app, tenants[0])
    app.commit()
    # The setting is now '' and no longer NULL; it must not match anything either.
    assert 0 == count(app, table)


def test_a_tenant_sees_its_own_rows_and_no_others(
    app: extensions.connection, tenants: tuple[str, str], database: Database
) -> None:
    become(app, tenants[0])
    seen = {table: count(app, table) for table in TENANT_TABLES}
    assert dict.fromkeys(TENANT_TABLES, 1) | {"accounts": 2} == seen
    assert 2 == count(app, "ledger_entries")
    with app.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM payments WHERE tenant_id = %s", (tenants[1],))
        assert (0,) == cursor.fetchone()
    with closing(psycopg2.connect(database.owner_url)) as owner:
        assert 2 == count(owner, "payments")


@pytest.mark.parametrize("table", ["ledger_transfers", "ledger_entries"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET amount = 1", "DELETE FROM {}", "TRUNCATE {}"])
def test_the_service_cannot_change_the_ledger(
    app: extensions.connection, tenants: tuple[str, str], table: str, statement: str
) -> None:
    become(app, tenants[0])
    refusals = (
        errors.InsufficientPrivilege,
        errors.ObjectNotInPrerequisiteState,
        errors.WrongObjectType,
    )
    with app.cursor() as cursor, pytest.raises(refusals):
        cursor.execute(statement.format(table))


@pytest.mark.parametrize("table", TENANT_TABLES)
@pytest.mark.parametrize("statement", ["INSERT INTO {} DEFAULT VALUES", "DELETE FROM {}"])
def test_the_service_writes_money_through_the_function_only(
    app: extensions.connection, tenants: tuple[str, str], table: str, statement: str
) -> None:
    become(app, tenants[0])
    with app.cursor() as cursor, pytest.raises(errors.InsufficientPrivilege):
        cursor.execute(statement.format(table))


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_transfers SET amount = amount + 1",
        "DELETE FROM ledger_transfers",
        "TRUNCATE ledger_transfers",
    ],
)
def test_even_the_owner_is_kept_from_changing_the_ledger(
    database: Database, statement: str
) -> None:
    with (
        closing(psycopg2.connect(database.owner_url)) as owner,
        owner.cursor() as cursor,
        pytest.raises(errors.InsufficientPrivilege, match="append-only"),
    ):
        cursor.execute(statement)


def test_row_level_security_is_forced_on_every_table_of_a_tenant(database: Database) -> None:
    with closing(psycopg2.connect(database.owner_url)) as owner, owner.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
            WHERE c.relkind = 'r' AND a.attname = 'tenant_id' AND NOT a.attisdropped
              AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
            """
        )
        assert [] == cursor.fetchall()


def test_every_unique_key_of_a_tenants_table_starts_with_the_tenant(database: Database) -> None:
    with closing(psycopg2.connect(database.owner_url)) as owner, owner.cursor() as cursor:
        cursor.execute(
            """
            SELECT i.indexrelid::regclass::text FROM pg_index i
            JOIN pg_attribute t ON t.attrelid = i.indrelid AND t.attname = 'tenant_id'
            WHERE i.indisunique AND i.indkey[0] <> t.attnum
            """
        )
        assert [] == cursor.fetchall()


def test_no_function_of_ours_is_open_to_everybody_but_the_one_that_reads_the_setting(
    database: Database,
) -> None:
    with closing(psycopg2.connect(database.owner_url)) as owner, owner.cursor() as cursor:
        cursor.execute(
            """
            SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
            WHERE n.nspname = 'public' AND has_function_privilege('public', p.oid, 'EXECUTE')
            """
        )
        assert [("current_tenant",)] == cursor.fetchall()


def test_the_functions_that_span_tenants_belong_to_a_role_without_log_in_or_bypass(
    database: Database,
) -> None:
    with closing(psycopg2.connect(database.owner_url)) as owner, owner.cursor() as cursor:
        cursor.execute(
            """
            SELECT DISTINCT r.rolname, r.rolcanlogin, r.rolsuper, r.rolbypassrls
            FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner WHERE p.prosecdef
            """
        )
        assert [("fluxpay_writer", False, False, False)] == cursor.fetchall()


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize("column", ["debit_account_id", "amount", "currency"])
def test_a_transfer_that_does_not_balance_cannot_be_written(
    database: Database, column: str
) -> None:
    wrong = {"debit_account_id": "credit_account_id", "amount": "0", "currency": "'eur'"}[column]
    columns = ["tenant_id", "id", "kind", "payment_id", "debit_account_id", "credit_account_id"]
    columns += ["amount", "currency", "created_at"]
    values = [wrong if one == column else one for one in columns]
    values[1] = "id || 'x'"
    with (
        closing(psycopg2.connect(database.owner_url)) as owner,
        owner.cursor() as cursor,
        pytest.raises(errors.CheckViolation),
    ):
        cursor.execute(
            f"INSERT INTO ledger_transfers ({', '.join(columns)}) "
            f"SELECT {', '.join(values)} FROM ledger_transfers"
        )


@pytest.mark.usefixtures("tenants")
def test_a_second_payment_under_one_key_cannot_be_written(database: Database) -> None:
    with (
        closing(psycopg2.connect(database.owner_url)) as owner,
        owner.cursor() as cursor,
        pytest.raises(errors.UniqueViolation, match="idempotency_key"),
    ):
        cursor.execute(
            """
            INSERT INTO payments
            SELECT (jsonb_populate_record(p, jsonb_build_object('id', 'pay_x'))).* FROM payments p
            """
        )
