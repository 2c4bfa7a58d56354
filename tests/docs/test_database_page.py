"""The page about the database says what a migrated database holds."""

from contextlib import closing
from typing import Any

import psycopg2

from tests.conftest import Database
from tests.docs.pages import code, read, table

PAGE = read("docs/reference/database.md")
ORDER = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")


def rows(database: Database, statement: str) -> list[Any]:
    with closing(psycopg2.connect(database.owner_url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def test_every_table_and_view_is_documented(database: Database) -> None:
    found = rows(
        database,
        """
        SELECT table_name, CASE table_type WHEN 'VIEW' THEN 'view' ELSE 'table' END
        FROM information_schema.tables WHERE table_schema = 'public'
        """,
    )
    assert dict(found) == {code(name): kind for name, kind, _ in table(PAGE, "Tables")}


def test_columns_that_are_listed_are_all_there_are(database: Database) -> None:
    listed = {
        code(name): told.partition("`")[2].partition("`")[0].split(", ")
        for name, _, told in table(PAGE, "Tables")
        if code(name) in {"tenants", "api_keys", "ledger_entries"}
    }
    found = {name: [column for (column,) in rows(database, _columns_of(name))] for name in listed}
    assert found == listed


def test_the_privileges_are_as_documented(database: Database) -> None:
    found: dict[tuple[str, str], list[str]] = {}
    granted = """
        SELECT table_name, grantee, privilege_type FROM information_schema.role_table_grants
        WHERE table_schema = 'public' AND grantee LIKE 'fluxpay\\_%'
          AND grantee <> 'fluxpay_owner'
    """
    for name, grantee, privilege in rows(database, granted):
        found.setdefault((name, grantee), []).append(privilege)
    shown = {place: " ".join(sorted(some, key=ORDER.index)) for place, some in found.items()}
    documented = {
        (code(name), role): privileges
        for name, *cells in table(PAGE, "Privileges")
        for role, privileges in zip(("fluxpay_app", "fluxpay_writer"), cells, strict=True)
        if privileges != "none"
    }
    assert shown == documented


def test_the_columns_that_change_are_as_documented(database: Database) -> None:
    found = rows(
        database,
        """
        SELECT a.attrelid::regclass::text, a.attname
        FROM pg_attribute a, aclexplode(a.attacl) AS granted
        WHERE granted.privilege_type = 'UPDATE'
          AND granted.grantee = 'fluxpay_writer'::regrole
        """,
    )
    documented = {
        (code(name), column)
        for name, columns in table(PAGE, "Columns that change")
        for column in code(columns).split(", ")
    }
    assert set(found) == documented


def test_every_migration_is_documented_in_its_order(database: Database) -> None:
    found = rows(database, "SELECT name FROM schema_migrations ORDER BY name")
    assert [name for (name,) in found] == [code(row[0]) for row in table(PAGE, "Migrations")]


def test_every_policy_is_documented(database: Database) -> None:
    found = rows(database, "SELECT DISTINCT policyname FROM pg_policies")
    assert {name for (name,) in found} == {code(row[0]) for row in table(PAGE, "Policies")}


def test_every_function_is_documented_with_the_role_it_runs_as(database: Database) -> None:
    found = rows(
        database,
        """
        SELECT proname,
               CASE WHEN prosecdef THEN format('`%s`', pg_get_userbyid(proowner))
                    ELSE 'the caller' END
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        """,
    )
    assert dict(found) == {code(name): role for name, role, _ in table(PAGE, "Functions")}


def _columns_of(name: str) -> str:
    return f"""
        SELECT column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name = '{name}' ORDER BY ordinal_position
    """
