"""One tenant's rows as of one moment, streamed.

For commands that read a whole tenant: the books may be larger than memory, and are written to
meanwhile. Each tenant is read in one REPEATABLE READ, READ ONLY transaction, through server-side
cursors. A command has nothing else to do while it waits, and psycopg2's cursors of that kind need
no pool and no event loop; so this is the one blocking reader beside the migrations.

Must not know what the rows mean.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final

import psycopg2

from fluxpay.stores import migrations
from fluxpay.stores.problems import SchemaBehind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg2 import extensions

UNREADABLE: Final = (psycopg2.DataError, OverflowError, ValueError)
"""What a value raises that the service could not have written, such as a date in the year 20000."""

_CONNECT_TIMEOUT_S: Final = 5
_ROWS_A_FETCH: Final = 2_000
_TENANTS_A_PAGE: Final = 1_000
_STANDING: Final = """
    SELECT EXISTS (SELECT FROM payments WHERE tenant_id = %(tenant)s)
        OR EXISTS (SELECT FROM ledger_transfers WHERE tenant_id = %(tenant)s)
        OR EXISTS (SELECT FROM ledger_seals WHERE tenant_id = %(tenant)s),
           EXISTS (SELECT FROM tenants WHERE id = %(tenant)s)
"""


class Reader:
    """A session that reads one tenant after another."""

    def __init__(self, connection: extensions.connection) -> None:
        self._connection = connection

    def cancel(self) -> None:
        """End the statement under way, from any thread; whoever waits for it gets an error."""
        self._connection.cancel()

    def tenants(self) -> Iterator[tuple[str, bool]]:
        """Each tenant that any row names, by id, and whether the tenant's own row is there."""
        after: str | None = None
        while True:
            with self._connection, self._connection.cursor() as cursor:
                cursor.execute("SELECT * FROM tenants_in_books(%s, %s)", (after, _TENANTS_A_PAGE))
                page: list[tuple[str, bool]] = cursor.fetchall()
            if not page:
                return
            yield from page
            after = page[-1][0]

    def standing(self, tenant_id: str) -> tuple[bool, bool]:
        """Whether the books name this tenant at all, and whether the tenant's own row is there."""
        with self.snapshot(tenant_id) as snapshot:
            ((has_books, has_row),) = snapshot.stream(_STANDING)
        return has_books or has_row, has_row

    @contextmanager
    def snapshot(self, tenant_id: str) -> Iterator[Snapshot]:
        """All of one tenant as it is at this moment, for the length of a block."""
        with self._connection:
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT set_config('fluxpay.tenant', %s, true)", (tenant_id,))
                # Every row will be fetched: a plan that is quick to give the first few is slow.
                cursor.execute("SET LOCAL cursor_tuple_fraction = 1")
                # Whole tables are joined here. A table that has grown since it was last analyzed
                # looks small to the planner, and a nested loop over it would never end.
                cursor.execute("SET LOCAL enable_nestloop = off")
            yield Snapshot(self._connection, tenant_id)


class Snapshot:
    """One tenant at one moment."""

    def __init__(self, connection: extensions.connection, tenant_id: str) -> None:
        self._connection = connection
        self._tenant_id = tenant_id
        self._streams = 0

    def stream(
        self, sql: str, parameters: Mapping[str, object] | None = None
    ) -> Iterator[tuple[Any, ...]]:
        """The rows of a query; `%(tenant)s` in it is the tenant."""
        self._streams += 1
        given = {"tenant": self._tenant_id, **(parameters or {})}
        with self._connection.cursor(f"stream_{self._streams}") as cursor:
            cursor.itersize = _ROWS_A_FETCH
            cursor.execute(sql, given)
            yield from cursor

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """A block after whose failure the snapshot can still be read."""
        with self._connection.cursor() as cursor:
            cursor.execute("SAVEPOINT attempt")
            try:
                yield
            except UNREADABLE:
                cursor.execute("ROLLBACK TO attempt")
                raise
            cursor.execute("RELEASE attempt")


@contextmanager
def reading(url: str) -> Iterator[Reader]:
    """Open a session, and check that the schema is ours.

    Raises:
        SchemaBehind: `fluxpay migrate` has to run first.
        MigrationFailed: An applied migration has changed.
        psycopg2.Error: The database cannot be reached.
    """
    behind = migrations.pending(url)
    if behind:
        message = f"the schema lacks {', '.join(behind)}"
        raise SchemaBehind(message)
    with opened(url) as reader:
        yield reader


@contextmanager
def opened(url: str) -> Iterator[Reader]:
    """Open a session where the schema is known to be ours.

    Raises:
        psycopg2.Error: The database cannot be reached.
    """
    with closing(psycopg2.connect(url, connect_timeout=_CONNECT_TIMEOUT_S)) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        yield Reader(connection)
