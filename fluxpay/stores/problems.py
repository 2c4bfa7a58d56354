"""What can go wrong between FluxPay and Postgres, in the few kinds that callers treat differently.

    StoreError
    ├── StoreUnavailable        answer 503: nothing was committed, another moment may do
    │   ├── PoolExhausted       every connection stayed borrowed for the whole wait
    │   └── OutcomeUnknown      the reply was lost: read the truth back on a new connection
    ├── StatementTimedOut       answer 503: the statement was stopped, its work is undone
    ├── SerializationLost       run the whole transaction again, three times at most, with jitter
    ├── CommitRefused           COMMIT was answered with ROLLBACK: nothing was committed
    └── SchemaBehind            a table, column or function is missing: migrate first

An `OutcomeUnknown` is a `StoreUnavailable` because a reader answers 503 to both; only a writer
needs to tell them apart, and must: the row may be there.

What the caller brought about itself (a broken constraint, a value out of range, a missing
privilege, a syntax error) is none of these, and keeps the driver's own class. This module knows
SQLSTATEs and psycopg2's exceptions; it knows no connection and no HTTP status.

Source: PostgreSQL documentation, appendix A, "PostgreSQL Error Codes".
"""

from typing import Final

import psycopg2


class StoreError(Exception):
    """Postgres did not do what it was asked, through no fault of the caller's values."""

    def __init__(self, message: str, *, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class StoreUnavailable(StoreError):
    """Postgres cannot be reached, or cannot serve now; nothing was committed."""


class PoolExhausted(StoreUnavailable):
    """No connection came free within the bounded wait."""


class OutcomeUnknown(StoreUnavailable):
    """The connection was lost after the statement went out: it may have been committed or not."""


class StatementTimedOut(StoreError):
    """The server stopped the statement at one of its limits, or because an operator asked."""


class SerializationLost(StoreError):
    """A concurrent transaction won; the same work may succeed when it is run again."""


class CommitRefused(StoreError):
    """COMMIT was answered with ROLLBACK, since a statement before it had failed unheard."""


class SchemaBehind(StoreError):
    """The schema lacks what the statement names."""


# A full code is looked up before its class, the first two characters. What neither names is the
# caller's own business.
_BY_SQLSTATE: Final[dict[str, type[StoreError]]] = {
    "08": StoreUnavailable,  # connection exceptions
    "25006": StoreUnavailable,  # read-only: a primary that has become a standby
    "25P03": StoreUnavailable,  # idle in transaction for too long; the session was ended
    "25P04": StoreUnavailable,  # the transaction as a whole took too long; likewise
    "28": StoreUnavailable,  # the server does not let us in
    "3D000": StoreUnavailable,  # no such database
    "3F000": SchemaBehind,  # no such schema
    "40001": SerializationLost,  # could not serialize
    "40P01": SerializationLost,  # deadlock
    "42703": SchemaBehind,  # no such column
    "42883": SchemaBehind,  # no such function
    "42P01": SchemaBehind,  # no such table
    "53": StoreUnavailable,  # out of connections, memory or disk
    "55P03": StatementTimedOut,  # lock_timeout
    "57014": StatementTimedOut,  # statement_timeout, or pg_cancel_backend
    "57P01": StoreUnavailable,  # an administrator ends the session
    "57P02": StoreUnavailable,  # another backend crashed
    "57P03": StoreUnavailable,  # starting up or shutting down
    "57P04": StoreUnavailable,  # the database is being dropped
    "57P05": StoreUnavailable,  # idle_session_timeout
    "58": StoreUnavailable,  # the server's operating system failed
}


def translated(error: BaseException) -> StoreError | None:
    """Say in our words what the driver reported, or None where it is the caller's business.

    An error without an SQLSTATE comes from the client library: the connection itself failed. A
    TimeoutError is our own limit on an answer, or the operating system's on a connection.
    """
    if isinstance(error, StoreError):
        return error
    if isinstance(error, OSError):
        return StoreUnavailable(_first_line(error))
    if not isinstance(error, psycopg2.Error):
        return None
    sqlstate = error.pgcode
    if sqlstate is None:
        broken = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        return StoreUnavailable(_first_line(error)) if broken else None
    kind = _BY_SQLSTATE.get(sqlstate) or _BY_SQLSTATE.get(sqlstate[:2])
    if kind is None:
        return None
    # The primary message names objects, never values; the detail may quote a customer's row.
    return kind(error.diag.message_primary or _first_line(error), sqlstate=sqlstate)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
