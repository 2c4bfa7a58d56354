"""From a libpq URL to an open wire: host after host, each with its own time.

Knows DSNs, addresses and the limits a session starts with. It knows no statement and no pool.
libpq would walk over several hosts itself, but in non-blocking mode it has no time limit, so that
one host behind a black hole hides all that follow it; and it resolves names while the event loop
stands still. So libpq is shown one resolved address at a time, and judges `target_session_attrs`
for that one.

Source: PostgreSQL documentation, "Connection Strings" and "Client Connection Defaults".
"""

import asyncio
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import psycopg2
from psycopg2 import extensions

from fluxpay.stores.problems import StoreUnavailable, translated
from fluxpay.stores.wire import Wire

_CHECK_INTERVAL: Final = "client_connection_check_interval"

# What a DSN may override. A peer that vanished is noticed after 30 + 3 x 10 s when idle, and after
# 10 s with data under way. GSSAPI is never asked for by itself: its look-ups block the loop.
_DEFAULTS: Final[Mapping[str, str]] = {
    "application_name": "fluxpay",
    "gssencmode": "disable",
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
# Said here, since a database or a role may start its sessions otherwise.
_PROMISES: Final = (
    # Also where a statement is a transaction of its own: its functions look again after a wait.
    r"-c default_transaction_isolation=read\ committed",
    # What is answered is on disk.
    "-c synchronous_commit=on",
)


class UnreadableDsn(ValueError):
    """The DSN is none; the message does not repeat it, for it holds a password."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long the server lets a session take; 0 is no limit.

    Args:
        statement_timeout_s: for one statement.
        lock_timeout_s: for one wait for a lock.
        idle_in_transaction_timeout_s: between two statements of a transaction.
        client_check_interval_s: how often a busy backend looks whether its client is still there.
        reply_grace_s: how long after `statement_timeout_s` the client gives the connection up.
    """

    statement_timeout_s: float = 10.0
    lock_timeout_s: float = 5.0
    idle_in_transaction_timeout_s: float = 15.0
    client_check_interval_s: float = 1.0
    reply_grace_s: float = 2.0

    @property
    def reply_timeout_s(self) -> float:
        """The client's own limit on one reply; 0 is none."""
        return self.statement_timeout_s + self.reply_grace_s if self.statement_timeout_s else 0.0

    def settings_ms(self) -> dict[str, int]:
        """The server's settings, in milliseconds."""
        return {
            "statement_timeout": round(self.statement_timeout_s * 1000),
            "lock_timeout": round(self.lock_timeout_s * 1000),
            "idle_in_transaction_session_timeout": round(self.idle_in_transaction_timeout_s * 1000),
            _CHECK_INTERVAL: round(self.client_check_interval_s * 1000),
        }


@dataclass(frozen=True, slots=True)
class _Host:
    """One entry of the host list as it is written; an empty part means libpq's default."""

    name: str
    address: str
    port: str

    def __str__(self) -> str:
        return ":".join(part for part in (self.name or self.address, self.port) if part) or "local"


async def dial(dsn: str, *, limits: SessionLimits, connect_timeout_s: float) -> Wire:
    """Open a wire to the first host that answers and is what the DSN wants.

    Args:
        dsn: a libpq URL or keyword string, with one host or several.
        limits: what the session starts with.
        connect_timeout_s: for each address, and for each name look-up.

    Raises:
        UnreadableDsn: the DSN cannot be read.
        StoreUnavailable: no host would do; the message has one reason per address tried.
    """
    parameters = _parameters(dsn)
    failures: list[str] = []
    for attributes in _passes(parameters.pop("target_session_attrs", "any")):
        for host in _hosts(parameters):
            try:
                addresses = await _addresses(host, connect_timeout_s)
            except OSError as error:
                failures.append(_reason(host, error, connect_timeout_s))
                continue
            for address in addresses:
                wanted = {**parameters, **address, "target_session_attrs": attributes}
                try:
                    return await _open(wanted, limits, connect_timeout_s)
                except (psycopg2.Error, OSError) as error:
                    failures.append(_reason(host, error, connect_timeout_s))
    raise StoreUnavailable("; ".join(dict.fromkeys(failures)))


def _parameters(dsn: str) -> dict[str, str]:
    try:
        parsed = extensions.parse_dsn(dsn)
    except psycopg2.Error:
        raise UnreadableDsn(
            "the database URL cannot be read as a libpq connection string"
        ) from None
    given = {name: str(value) for name, value in parsed.items()}
    return {**_DEFAULTS, **given}


def _passes(attributes: str) -> tuple[str, ...]:
    """`prefer-standby` is a second choice over the whole list, which one host cannot express."""
    return ("standby", "any") if attributes == "prefer-standby" else (attributes,)


def _hosts(parameters: Mapping[str, str]) -> list[_Host]:
    names = parameters.get("host", "").split(",")
    addresses = parameters.get("hostaddr", "").split(",")
    ports = parameters.get("port", "").split(",")
    count = max(len(names), len(addresses))
    columns = []
    for column in (names, addresses, ports):
        if len(column) not in {1, count}:
            raise UnreadableDsn(
                "the database URL has lists of hosts and ports of different lengths"
            )
        columns.append(column if len(column) == count else column * count)
    return [_Host(*entry) for entry in zip(*columns, strict=True)]


async def _addresses(host: _Host, timeout_s: float) -> list[dict[str, str]]:
    """Give the parameters for each address of one host; the name stays, for TLS to verify."""
    local = not host.name or host.name.startswith(("/", "@"))
    port = {"host": host.name, "hostaddr": host.address, "port": host.port}
    if host.address or local or _is_literal(host.name):
        return [port]
    async with asyncio.timeout(timeout_s):
        found = await asyncio.get_running_loop().getaddrinfo(
            host.name, None, type=socket.SOCK_STREAM
        )
    distinct = dict.fromkeys(str(entry[4][0]) for entry in found)
    return [{**port, "hostaddr": address} for address in distinct]


def _is_literal(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _open(parameters: Mapping[str, str], limits: SessionLimits, timeout_s: float) -> Wire:
    settings_ms = limits.settings_ms()
    try:
        wire = Wire(_with_options(parameters, settings_ms), timeout_s=timeout_s)
        return await wire.established()
    except psycopg2.Error as error:
        # Some systems cannot watch a socket while they work, and refuse the setting by name.
        if _CHECK_INTERVAL not in str(error):
            raise
    del settings_ms[_CHECK_INTERVAL]
    wire = Wire(_with_options(parameters, settings_ms), timeout_s=timeout_s)
    return await wire.established()


def _with_options(parameters: Mapping[str, str], settings_ms: Mapping[str, int]) -> dict[str, str]:
    options = [*_PROMISES, *(f"-c {name}={value}" for name, value in settings_ms.items())]
    # The DSN's own options come last, so that they win.
    options.append(parameters.get("options", ""))
    filled = {name: value for name, value in parameters.items() if value}
    return {**filled, "options": " ".join(options).strip()}


def _reason(host: _Host, error: Exception, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"{host}: no answer within {timeout_s:g} s"
    problem = translated(error)
    return f"{host}: {problem if problem is not None else error}"
