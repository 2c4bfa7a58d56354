"""Migrations: plain SQL files in `schema/`, applied in order, forward only.

Each file runs in one transaction together with the note that it ran. One advisory lock keeps two
runners apart, and a lock timeout keeps a migration from queueing behind a long transaction with
all traffic behind it. An applied file never changes: its digest is kept and compared.

Knows files and their order; must not know what is in them.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

import psycopg2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from psycopg2 import extensions

_LOCK: Final = 0x666C7578  # "flux"
_LOCK_TIMEOUT: Final = "5s"
_CONNECT_TIMEOUT_S: Final = 5
_BOOK: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    name text PRIMARY KEY,
    digest text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class MigrationFailed(Exception):
    """The schema cannot be brought up to date; the message says what a person has to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its name without `.sql`, and what it does."""

    name: str
    sql: str

    @property
    def digest(self) -> str:
        """SHA-256 of the file, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """All migrations, in the order in which they apply."""
    folder = resources.files("fluxpay.stores") / "schema"
    files = (one for one in folder.iterdir() if one.name.endswith(".sql"))
    return sorted(
        (Migration(one.name.removesuffix(".sql"), one.read_text("utf-8")) for one in files),
        key=lambda one: one.name,
    )


def missing(applied: Iterable[str]) -> list[str]:
    """The names of the migrations that are not among those applied.

    A schema that is ahead misses nothing: during a rollout the old code runs on the new schema.
    """
    known = set(applied)
    return [migration.name for migration in migrations() if migration.name not in known]


def migrate(owner_url: str, *, report: Callable[[str], None]) -> list[str]:
    """Apply what is not applied yet, and return the names.

    Args:
        owner_url: The database as the role that owns the schema.
        report: Told the name of each migration before it runs.

    Raises:
        MigrationFailed: An applied file has changed, or a lock was not to be had.
        psycopg2.Error: The database cannot be reached, or refused a statement.
    """
    with closing(psycopg2.connect(owner_url, connect_timeout=_CONNECT_TIMEOUT_S)) as connection:
        connection.autocommit = True
        _execute(connection, "SELECT pg_advisory_lock(%s)", (_LOCK,))
        _execute(connection, "SET lock_timeout = %s", (_LOCK_TIMEOUT,))
        _execute(connection, _BOOK)
        todo = _todo(connection)
        for migration in todo:
            report(migration.name)
            _apply(connection, migration)
        return [migration.name for migration in todo]


def pending(url: str) -> list[str]:
    """The names of the migrations that are not applied yet; any role of ours may ask.

    Raises:
        MigrationFailed: An applied file has changed.
        psycopg2.Error: The database cannot be reached.
    """
    with closing(psycopg2.connect(url, connect_timeout=_CONNECT_TIMEOUT_S)) as connection:
        return [migration.name for migration in _todo(connection)]


def _todo(connection: extensions.connection) -> list[Migration]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('schema_migrations') IS NOT NULL")
        if cursor.fetchone() != (True,):
            return migrations()
        cursor.execute("SELECT name, digest FROM schema_migrations")
        applied = dict(cursor.fetchall())
    for migration in migrations():
        if applied.get(migration.name, migration.digest) != migration.digest:
            message = (
                f"migration {migration.name} was changed after it had been applied; "
                "restore the file and put the change into a new one"
            )
            raise MigrationFailed(message)
    return [migration for migration in migrations() if migration.name not in applied]


def _apply(connection: extensions.connection, migration: Migration) -> None:
    connection.autocommit = False
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(migration.sql)
            cursor.execute(
                "INSERT INTO schema_migrations (name, digest) VALUES (%s, %s)",
                (migration.name, migration.digest),
            )
    except psycopg2.errors.LockNotAvailable as error:
        message = (
            f"migration {migration.name} got no lock within {_LOCK_TIMEOUT}: "
            "a long transaction is in the way; nothing was changed, run it again"
        )
        raise MigrationFailed(message) from error
    finally:
        connection.autocommit = True


def _execute(
    connection: extensions.connection, sql: str, parameters: tuple[object, ...] = ()
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
