"""The database as a whole: which one it is, whether it answers, whether its schema is ours.

Knows Postgres' own catalogues; must not know payments. The identity matters to the reply cache:
after a failover, a restore or a reset, a reply from before may name a payment that is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fluxpay.stores import migrations
from fluxpay.stores.peers import postgres_at
from fluxpay.stores.pool import Pool
from fluxpay.stores.problems import SchemaBehind

if TYPE_CHECKING:
    from fluxpay.stores.connection import Connection, SessionLimits

_IDENTITY: Final = """
    SELECT (SELECT system_identifier FROM pg_control_system()),
           -- The write-ahead log's timeline moves at the promotion itself, the control file's
           -- only at the checkpoint after it. A standby has no current log of its own.
           CASE WHEN pg_is_in_recovery() THEN 'standby'
                ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END,
           (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_CONNECT_TIMEOUT_S: Final = 3.0
_ACQUIRE_TIMEOUT_S: Final = 5.0
_LIFETIME_S_MAX: Final = 1800.0


class Database:
    """Makes pools, and keeps the identity that their newest connection saw.

    Args:
        url: A libpq URL, with one host or several.
        limits: What the server holds each session to.
    """

    def __init__(self, url: str, *, limits: SessionLimits) -> None:
        self._url = url
        self._limits = limits
        self._identity = ""
        self.peer = postgres_at(url)
        """Where the newest connection leads, and before there is one, the first host of the URL."""

    @property
    def identity(self) -> str:
        """System, timeline and database; changes when history may have been rewritten."""
        return self._identity

    def pool(self, *, max_size: int) -> Pool:
        """Make a pool; it dials when it is first borrowed from."""
        return Pool(
            self._url,
            max_size=max_size,
            limits=self._limits,
            connect_timeout_s=_CONNECT_TIMEOUT_S,
            acquire_timeout_s=_ACQUIRE_TIMEOUT_S,
            max_lifetime_s=_LIFETIME_S_MAX,
            on_connect=self._recognize,
        )

    async def _recognize(self, connection: Connection) -> None:
        peer = connection.peer
        # The same object while it is the same server: what is worked out from it is kept.
        if peer != self.peer:
            self.peer = peer
        row = await connection.fetch_one(_IDENTITY)
        self._identity = "" if row is None else ".".join(str(part) for part in row)


async def require_schema(pool: Pool) -> None:
    """Check that every migration this code knows has been applied.

    Raises:
        SchemaBehind: Some are missing; `fluxpay migrate` applies them.
        StoreError: The database could not be asked.
    """
    async with pool.connection() as connection:
        rows = await connection.fetch_all("SELECT name FROM schema_migrations")
    behind = migrations.missing(name for (name,) in rows)
    if behind:
        message = f"the schema lacks {', '.join(behind)}"
        raise SchemaBehind(message)
