"""One session with Postgres: asking it, and committing on it.

Knows statements, transactions, and what a lost reply means. It knows no pool, no table and no
retry. What it raises about the store is a `StoreError`; constraint and data errors keep psycopg2's
classes, since they are about the caller's values. A column of type uuid comes back as text.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import aiopg
import psycopg2
from psycopg2 import extensions

from fluxpay.stores.dialling import SessionLimits, dial
from fluxpay.stores.peers import Peer, postgres_of
from fluxpay.stores.problems import (
    CommitRefused,
    OutcomeUnknown,
    StoreError,
    StoreUnavailable,
    translated,
)
from fluxpay.stores.wire import Wire

__all__ = ["Connection", "Parameters", "Row", "SessionLimits", "connect"]

Parameters: TypeAlias = Sequence[object] | Mapping[str, object]
Row: TypeAlias = tuple[Any, ...]

_READ_ONLY: Final = "25006"
# Said here, since a database or a role may start its sessions otherwise: who has waited for a lock
# must see what its last holder committed, and would else decide by a balance of before.
_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"


async def connect(dsn: str, *, limits: SessionLimits, connect_timeout_s: float) -> "Connection":
    """Open a session on the first host of the DSN that answers and is what the DSN wants.

    Args:
        dsn: a libpq URL, with one host or several.
        limits: what the server holds the session to.
        connect_timeout_s: for each address, and for each name look-up.

    Raises:
        ValueError: the DSN cannot be read.
        StoreUnavailable: no host would do.
    """
    wire = await dial(dsn, limits=limits, connect_timeout_s=connect_timeout_s)
    cursor = await wire.cursor(timeout=limits.reply_timeout_s)
    return Connection(wire, cursor)


class Connection:
    """A session for one borrower at a time. `connect` makes it."""

    __slots__ = ("_cursor", "_wire", "opened_at")

    def __init__(self, wire: Wire, cursor: aiopg.Cursor) -> None:
        self._wire = wire
        # One cursor for life: psycopg2 lets it be executed again, and saves an object a statement.
        self._cursor = cursor
        self.opened_at = asyncio.get_running_loop().time()

    @property
    def peer(self) -> Peer:
        """The server at the other end."""
        return postgres_of(self._wire.raw)

    @property
    def broken(self) -> bool:
        """Whether the session is over, from either side."""
        return self._wire.lost

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, failed, or in the middle of a statement."""
        if self.broken:
            return False
        status: int = self._wire.raw.get_transaction_status()
        return status != extensions.TRANSACTION_STATUS_IDLE

    @property
    def at_rest(self) -> bool:
        """Whether the session is alive, as far as we were told, and outside a transaction."""
        return not (self.broken or self.in_transaction)

    @property
    def reusable(self) -> bool:
        """Whether a next borrower finds the session alive and at rest."""
        return self.at_rest and not self._wire.has_spoken_unasked()

    async def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Run one or several statements in one round trip, and return the last one's rows.

        Several statements in one string are one transaction, unless they say otherwise.

        Raises:
            OutcomeUnknown: the connection was lost, and nothing says that it did not commit.
            StoreError: any other fault of the store.
            psycopg2.Error: a fault of the values or of the statement.
        """
        await self._run(sql, parameters)
        cursor = self._cursor.raw
        return [] if cursor.description is None else list(cursor.fetchall())

    async def fetch_one(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """Like `fetch_all`, for the first row alone; None where there is none."""
        rows = await self.fetch_all(sql, parameters)
        return rows[0] if rows else None

    async def execute(self, sql: str, parameters: Parameters = ()) -> str:
        """Like `fetch_all`, for the last statement's command tag (`INSERT 0 1`)."""
        return await self._run(sql, parameters)

    @asynccontextmanager
    async def transaction(self, *, tenant: str | None = None) -> AsyncIterator[None]:
        """Commit what the block does, or nothing of it.

        Args:
            tenant: whose rows the block may see; row-level security shows none without it.

        Raises:
            CommitRefused: a statement of the block had failed, and the block did not pass it on.
            OutcomeUnknown: the reply to COMMIT was lost; read the truth back by its key.
        """
        if self.in_transaction:
            raise RuntimeError("a transaction is open on this connection already")
        try:
            await self._begin(tenant)
            yield
        except Exception:
            await self._roll_back()
            raise
        except BaseException:
            # A cancelled task must not wait for another reply; the server rolls back by itself.
            self.close()
            raise
        status = await self._run("COMMIT", (), commits=True)
        if status != "COMMIT":
            raise CommitRefused(f"COMMIT was answered with {status}")

    def close(self) -> None:
        """End the session; an open transaction is rolled back by the server."""
        if not self.broken:
            self._cursor.close()
        self._wire.end()

    async def _begin(self, tenant: str | None) -> None:
        if tenant is None:
            await self._run(_BEGIN, ())
            return
        # `true` makes the setting local: it ends with the transaction, whoever borrows next.
        await self._run(f"{_BEGIN}; SELECT set_config('fluxpay.tenant', %s, true)", (tenant,))

    async def _roll_back(self) -> None:
        if self.broken:
            return
        try:
            await self._run("ROLLBACK", ())
        except (StoreError, psycopg2.Error):
            self.close()

    async def _run(self, sql: str, parameters: Parameters, *, commits: bool = False) -> str:
        if self.broken:
            raise StoreUnavailable("the connection to Postgres is closed")
        # Inside a transaction a lost connection means a rollback, up to the COMMIT itself.
        in_doubt = commits or not self.in_transaction
        try:
            await self._cursor.execute(sql, parameters or None)
        except (psycopg2.Error, TimeoutError) as error:
            if self._wire.lost:
                kind = OutcomeUnknown if in_doubt else StoreUnavailable
                raise kind(_lost(error), sqlstate=_sqlstate(error)) from error
            problem = translated(error)
            if problem is None:
                raise
            if problem.sqlstate == _READ_ONLY:
                # The primary has been replaced: only a new dial finds the one that takes writes.
                self.close()
            raise problem from error
        return str(self._cursor.raw.statusmessage)


def _sqlstate(error: Exception) -> str | None:
    return error.pgcode if isinstance(error, psycopg2.Error) else None


def _lost(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "Postgres did not answer in time"
    problem = translated(error)
    return str(problem if problem is not None else error)
