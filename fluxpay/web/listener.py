"""One application behind its sockets: bound, started, drained, closed.

Sockets are bound before anything else starts, so that a taken port is told at once, and they
listen only when the service is ready. Draining refuses nobody who got through: a request under
way is answered, and so is one that a client sends on a connection it believes to be open, for a
short while; each such answer closes its connection.

Must not know routes or signals.
"""

import asyncio
import errno
import select
import socket
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from aiohttp import web

from fluxpay.web.protocol import Terms, Wire, factory

_NOT_HERE: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
_BACKLOG: Final = 1024
_HANDSHAKE_TIMEOUT_S: Final = 10
# For a request that was on its way when draining began; nothing is lost if none comes.
_GRACE_S: Final = 0.5
# From an accepted socket to a protocol that has its connection, in turns of the loop.
_STEPS: Final = 5
_LOOK_S: Final = 0.02
_FORCED_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen.

    Args:
        is_shared: Whether other processes of this user may listen there too.
    """

    host: str
    port: int
    is_shared: bool = False


def bind(address: Address) -> list[socket.socket]:
    """Bind every address that the host name stands for, all to one port.

    Raises:
        OSError: The port is taken or the host is not ours; the text names both.
    """
    bound: list[socket.socket] = []
    missing: OSError | None = None
    port = address.port
    try:
        for family, host in _resolved(address):
            try:
                bound.append(_bound(family, host, port, is_shared=address.is_shared))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                # `localhost` stands for two addresses, of which a machine may have but one.
                missing = error
                continue
            # Port 0 lets the system choose, once.
            port = bound[0].getsockname()[1]
    except OSError as error:
        release(bound)
        raise _named(error, address) from None
    if missing is not None and not bound:
        raise _named(missing, address)
    return bound


def release(bound: Iterable[socket.socket]) -> None:
    """Give the addresses back."""
    for one in bound:
        one.close()


class Listener:
    """A running application."""

    def __init__(
        self,
        runner: web.AppRunner,
        servers: list[asyncio.Server],
        sockets: list[socket.socket],
        *,
        is_tls: bool,
    ) -> None:
        self._runner = runner
        self._sockets = sockets
        self._servers = servers
        self._is_tls = is_tls

    @classmethod
    async def start(
        cls,
        app: web.Application,
        sockets: list[socket.socket],
        *,
        terms: Terms,
        tls: ssl.SSLContext | None,
    ) -> "Listener":
        """Begin to accept connections."""
        runner = web.AppRunner(app, handle_signals=False, access_log=None)
        await runner.setup()
        manager = runner.server
        if manager is None:
            raise RuntimeError("the runner was set up and has no server")
        loop = asyncio.get_running_loop()
        servers = [
            await loop.create_server(
                factory(manager, terms),
                sock=one,
                ssl=tls,
                backlog=_BACKLOG,
                ssl_handshake_timeout=None if tls is None else _HANDSHAKE_TIMEOUT_S,
            )
            for one in sockets
        ]
        return cls(runner, servers, sockets, is_tls=tls is not None)

    @property
    def answering(self) -> int:
        """How many requests are being answered."""
        return sum(one.is_answering for one in self._connections())

    async def drain(self, *, timeout_s: float) -> None:
        """Accept no more, answer what got through, and let the idle connections go."""
        await self._stop_accepting()
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        while loop.time() < begun_s + timeout_s:
            # Look after waiting: a connection accepted just now is in no list yet.
            await asyncio.sleep(_LOOK_S)
            connections = list(self._connections())
            if not connections and not self._is_tls:
                return
            # A handshake under way is in no list either; the grace is for it as well.
            if loop.time() >= begun_s + _GRACE_S and not any(one.is_busy for one in connections):
                return

    async def close(self) -> None:
        """End what is left. Handlers that outlived the drain are cancelled."""
        for server in self._servers:
            server.close()
        manager = self._runner.server
        if manager is not None:
            manager.pre_shutdown()
            await manager.shutdown(_FORCED_S)
        await self._runner.cleanup()

    async def _stop_accepting(self) -> None:
        """Take whom the kernel has let in already, then close the listening sockets."""
        queue = select.poll()
        for one in self._sockets:
            queue.register(one, select.POLLIN)
        for _ in range(_BACKLOG):
            # Whoever still waits to be accepted would be cut off. uvloop takes one a turn.
            if not queue.poll(0):
                break
            await asyncio.sleep(0)
        for _ in range(_STEPS):
            # asyncio drops a connection whose server closes before it has got its protocol.
            await asyncio.sleep(0)
        for server in self._servers:
            server.close()

    def _connections(self) -> Iterator[Wire]:
        manager = self._runner.server
        connections = [] if manager is None else manager.connections
        return (one for one in connections if isinstance(one, Wire))


def url_of(sockets: list[socket.socket], *, is_tls: bool) -> str:
    """Give the URL under which the first socket is reached from this machine."""
    host, port = sockets[0].getsockname()[:2]
    address = ip_address(host)
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"  # noqa: PLR2004 - IP versions
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if is_tls else 'http'}://{shown}:{port}"


def _resolved(address: Address) -> list[tuple[socket.AddressFamily, str]]:
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    pairs = [(family, str(place[0])) for family, _, _, _, place in found]
    return list(dict.fromkeys(pairs))


def _bound(family: socket.AddressFamily, host: str, port: int, *, is_shared: bool) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # `::` alone must not claim the IPv4 port that `0.0.0.0` would.
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((host, port))
        one.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    except OSError:
        one.close()
        raise
    return one


def _named(error: OSError, address: Address) -> OSError:
    reason = error.strerror or type(error).__name__
    text = f"cannot listen on {address.host} port {address.port}: {reason}"
    return type(error)(error.errno, text)
