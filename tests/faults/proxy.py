"""A proxy on loopback that breaks the network on demand, between any client and any server.

Knows bytes and sockets; it knows neither Postgres nor Redis. It listens on a port of 127.0.0.1 and
forwards to a TCP address or to a unix socket.

    async with FaultProxy("/run/pg/.s.PGSQL.5432") as proxy:
        client = await connect(f"postgresql://app@{proxy.host}:{proxy.port}/fluxpay")
        proxy.cut_after_reply_bytes(0)       # the next reply is lost, its request was carried out
        with pytest.raises(OutcomeUnknown):
            await client.execute("COMMIT")

The faults, each set at run time and for all connections, those open and those to come:

    proxy.delay_s = 0.2              every piece waits this long, in both directions
    proxy.cut_after_reply_bytes(n)   n more bytes of replies pass; what follows cuts its connection
    proxy.cut_after_request_bytes(n) the same for requests: with 0, the next one never arrives
    proxy.cut()                      every open connection is reset; new ones are served
    proxy.blackhole()                connections are accepted and nothing is carried, either way
    proxy.carry_new_ones()           what is in a black hole stays there; new connections are served
    await proxy.refuse()             nobody listens: connecting is refused; open ones are reset
    await proxy.heal()               all of it ends; what a black hole held back is lost with its
                                     connections

A cut happens once and disarms itself. Counters: `accepted`, `cuts`, and with `record=True` the
bytes that clients sent, in `requests`.
"""

import asyncio
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_PIECE_BYTES: Final = 65536
_TURNS_TO_BE_SERVED: Final = 5


class FaultProxy:
    """See the module. Use it as an async context manager."""

    def __init__(self, target: str | Path | tuple[str, int], *, record: bool = False) -> None:
        """Aim at a unix socket's path, or at a host and port."""
        self.host: Final = "127.0.0.1"
        self.port = 0
        self.delay_s = 0.0
        self.accepted = 0
        self.cuts = 0
        self.requests = bytearray()
        self._target = target
        self._record = record
        self._server: asyncio.Server | None = None
        self._refuses = False
        self._links: set[_Link] = set()
        self._carrying = asyncio.Event()
        self._carrying.set()
        self._reply_bytes_left: int | None = None
        self._request_bytes_left: int | None = None

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tasks = [link.task for link in self._links if link.task is not None]
        await self.refuse()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def open_connections(self) -> int:
        """Connections that are carried at this moment."""
        return len(self._links)

    def cut_after_reply_bytes(self, count: int) -> None:
        """Let `count` more bytes of replies pass, then reset the connection of the next byte."""
        self._reply_bytes_left = count

    def cut_after_request_bytes(self, count: int) -> None:
        """Let `count` more bytes of requests pass, then reset the connection of the next byte."""
        self._request_bytes_left = count

    def cut(self) -> None:
        """Reset every open connection."""
        self.cuts += len(self._links)
        for link in tuple(self._links):
            link.reset()

    def blackhole(self) -> None:
        """Accept connections and carry nothing, on open ones neither."""
        self._carrying.clear()

    def carry_new_ones(self) -> None:
        """Serve new connections again, and leave the open ones in their black hole for good."""
        self._carrying = asyncio.Event()
        self._carrying.set()

    async def refuse(self) -> None:
        """Stop listening, and reset what is open."""
        self._refuses = True
        for _ in range(_TURNS_TO_BE_SERVED):
            # asyncio drops whom it has let in and not served yet when its server closes.
            await asyncio.sleep(0)
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()
        # One turn, so that the loop has really closed the listening socket.
        await asyncio.sleep(0)

    async def heal(self) -> None:
        """End every fault; connections that were in a black hole are reset."""
        self.delay_s = 0.0
        self._reply_bytes_left = self._request_bytes_left = None
        if not self._carrying.is_set():
            self.cut()
            self._carrying.set()
        if self._server is None:
            await self._listen()

    async def _listen(self) -> None:
        self._refuses = False
        # The port stays the same over its whole life, so that a client's URL stays valid.
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            # Let in just before nobody listened any more.
            writer.transport.abort()
            return
        self.accepted += 1
        link = _Link(writer, self._carrying)
        self._links.add(link)
        try:
            await link.carrying.wait()
            upstream_reader, upstream_writer = await self._reach()
            link.upstream = upstream_writer
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, upstream_writer, link, replies=False))
                pumps.create_task(self._pump(upstream_reader, writer, link, replies=True))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            self._links.discard(link)
            link.reset()

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, tuple):
            return await asyncio.open_connection(*self._target)
        return await asyncio.open_unix_connection(str(self._target))

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        link: "_Link",
        *,
        replies: bool,
    ) -> None:
        while piece := await source.read(_PIECE_BYTES):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            await link.carrying.wait()
            if link.is_reset:
                return
            allowed = self._allowed(len(piece), replies=replies)
            if not replies and self._record:
                self.requests += piece[:allowed]
            sink.write(piece[:allowed])
            await sink.drain()
            if allowed < len(piece):
                self.cuts += 1
                link.reset()
                return
        with suppress(OSError):
            sink.write_eof()

    def _allowed(self, size: int, *, replies: bool) -> int:
        """Give how many bytes of this piece may pass; fewer than all of them disarms the fault."""
        left = self._reply_bytes_left if replies else self._request_bytes_left
        if left is None:
            return size
        remaining = left - size if size <= left else None
        if replies:
            self._reply_bytes_left = remaining
        else:
            self._request_bytes_left = remaining
        return min(size, left)


class _Link:
    """One client connection and, once it is reached, its upstream."""

    __slots__ = ("carrying", "client", "is_reset", "task", "upstream")

    def __init__(self, client: asyncio.StreamWriter, carrying: asyncio.Event) -> None:
        self.carrying = carrying
        self.client = client
        self.task = asyncio.current_task()
        self.upstream: asyncio.StreamWriter | None = None
        self.is_reset = False

    def reset(self) -> None:
        """Close both sides at once, and drop what they had still to send."""
        self.is_reset = True
        # It may be waiting in a black hole, where it would not see its sockets end.
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()
        self.client.transport.abort()
        if self.upstream is not None:
            self.upstream.transport.abort()
