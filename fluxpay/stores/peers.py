"""Who answers at the other end of a connection: which kind of store, where, and what in it.

Knows how the drivers tell it. Must not know what is asked there, and holds no credentials, so that
all of it may be shown.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

import psycopg2
from psycopg2 import extensions

_POSTGRES_PORT: Final = 5432
_REDIS_PORT: Final = 6379


@dataclass(frozen=True, slots=True)
class Peer:
    """A store, by its address.

    Args:
        address: A host name, an IP address, or the path of a socket.
        port: None for a socket.
        namespace: The database in it.
    """

    system: Literal["postgresql", "redis"]
    address: str
    port: int | None
    namespace: str


def postgres_at(url: str) -> Peer:
    """Give the first server that a libpq URL names."""
    try:
        told = extensions.parse_dsn(url)
    except psycopg2.Error:
        # Whoever dials says what is wrong with it.
        told = {}
    host, port = (str(told.get(name, "")).partition(",")[0] for name in ("host", "port"))
    return _postgres(host, port, str(told.get("dbname", "")))


def postgres_of(connection: extensions.connection) -> Peer:
    """Give the server that this connection was made to."""
    info = connection.info
    return _postgres(info.host or "", str(info.port or ""), info.dbname or "")


def redis_of(options: dict[str, Any]) -> Peer:
    """Give the server that redis-py's options of a connection name."""
    namespace = str(options.get("db") or 0)
    if "path" in options:
        return Peer("redis", str(options["path"]), None, namespace)
    port = int(options.get("port") or _REDIS_PORT)
    return Peer("redis", str(options.get("host") or "localhost"), port, namespace)


def _postgres(host: str, port: str, namespace: str) -> Peer:
    number = int(port) if port.isdecimal() else _POSTGRES_PORT
    if not host or host.startswith(("/", "@")):
        return Peer("postgresql", f"{host or 'local'}/.s.PGSQL.{number}", None, namespace)
    return Peer("postgresql", host, number, namespace)
