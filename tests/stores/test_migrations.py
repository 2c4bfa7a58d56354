"""Migrations on a real Postgres: in order, once, and by an owner with few rights."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest

from fluxpay.embedded.postgres import EmbeddedPostgres
from fluxpay.stores.migrations import (
    Migration,
    MigrationFailed,
    migrate,
    migrations,
    missing,
    pending,
)
from tests.conftest import Database

NAMES = [migration.name for migration in migrations()]


def run(url: str, sql: str) -> None:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        connection.cursor().execute(sql)


@pytest.fixture
def empty(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of an empty database, as its owner."""
    name = f"empty_{uuid.uuid4().hex}"
    run(postgres.owner_url("postgres"), f"CREATE DATABASE {name}")
    yield postgres.owner_url(name)
    run(postgres.owner_url("postgres"), f"DROP DATABASE {name} WITH (FORCE)")


def test_they_apply_in_order_and_then_nothing_is_left(empty: str) -> None:
    told: list[str] = []
    assert NAMES == pending(empty)
    assert NAMES == migrate(empty, report=told.append)
    assert NAMES == told
    assert [] == pending(empty)
    assert [] == migrate(empty, report=told.append)


def test_the_service_may_ask_what_is_missing(database: Database) -> None:
    assert [] == pending(database.app_url)
    run(database.owner_url, f"DELETE FROM schema_migrations WHERE name = '{NAMES[-1]}'")
    assert NAMES[-1:] == pending(database.app_url)


def test_a_schema_that_is_ahead_misses_nothing() -> None:
    assert [] == missing([*NAMES, "9999_later"])
    assert NAMES[1:] == missing(NAMES[:1])


def test_many_runners_at_once_apply_each_migration_once(empty: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        applied = list(threads.map(lambda _: migrate(empty, report=lambda _: None), range(4)))
    assert [[], [], [], NAMES] == sorted(applied)


def test_an_applied_file_that_was_changed_is_refused(database: Database) -> None:
    run(database.owner_url, f"UPDATE schema_migrations SET digest = 'x' WHERE name = '{NAMES[0]}'")
    with pytest.raises(MigrationFailed, match=f"{NAMES[0]} was changed"):
        migrate(database.owner_url, report=lambda _: None)


def test_a_failing_migration_leaves_nothing_behind(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Migration("0001_broken", "CREATE TABLE half (); SELECT 1 / 0;")
    monkeypatch.setattr("fluxpay.stores.migrations.migrations", lambda: [broken])
    with pytest.raises(psycopg2.errors.DivisionByZero):
        migrate(empty, report=lambda _: None)
    assert ["0001_broken"] == pending(empty)
    with closing(psycopg2.connect(empty)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('half')")
        assert (None,) == cursor.fetchone()


def test_a_lock_that_is_not_to_be_had_is_told_in_words(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxpay.stores.migrations._LOCK_TIMEOUT", "50ms")
    late = [*migrations(), Migration("9999_late", "ALTER TABLE payments ADD COLUMN late int")]
    monkeypatch.setattr("fluxpay.stores.migrations.migrations", lambda: late)
    with closing(psycopg2.connect(database.owner_url)) as reader:
        reader.cursor().execute("SELECT count(*) FROM payments")
        with pytest.raises(MigrationFailed, match="9999_late got no lock within 50ms"):
            migrate(database.owner_url, report=lambda _: None)
    assert ["9999_late"] == migrate(database.owner_url, report=lambda _: None)


def test_an_owner_without_superuser_rights_can_migrate(tmp_path: Path) -> None:
    # As managed Postgres hands a database out: its owner may create roles, and no more. On a
    # server of its own, since the role of the functions must not exist there yet.
    server = EmbeddedPostgres.start(tmp_path)
    try:
        run(server.owner_url("postgres"), "CREATE ROLE modest LOGIN CREATEROLE")
        run(server.owner_url("postgres"), "CREATE DATABASE modest OWNER modest")
        owner = urlsplit(server.owner_url("modest"))._replace(netloc="modest@").geturl()
        assert NAMES == migrate(owner, report=lambda _: None)
        assert [] == pending(server.app_url("modest"))
    finally:
        server.stop()
