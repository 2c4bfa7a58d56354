"""The lines to Redis: how a handful of commands gets there together, and its replies back.

redis-py makes every connection: addresses, TLS, ACL, sockets and cluster topology are its own. To
one server, the bytes then go by hiredis straight from and to the transport, which costs a fifth of
redis-py's own way per command; to a cluster they go by redis-py's pipeline, which knows the slots.

Knows connections and RESP; must not know what is asked, when, or how long anybody waits.
Source: RESP2, https://redis.io/docs/latest/develop/reference/protocol-spec/.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import hiredis
from redis.asyncio import RedisCluster
from redis.asyncio.connection import DefaultParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis as RedisServer
    from redis.asyncio.connection import AbstractConnection

    from fluxpay.stores.redis_client import Redis

Word = str | bytes | int
Packed = Any
"""A command in the form in which its line takes it."""

_WORDS: Final = frozenset({str, bytes, int})
_UNFINISHED: Final = object()


class Lines(Protocol):
    """Ways to Redis; what is exchanged at the same time goes by different ones."""

    def pack(self, command: tuple[Word, ...]) -> Packed:
        """Make a command ready.

        Raises: TypeError or UnicodeEncodeError for what cannot be sent.
        """

    async def exchange(self, commands: Sequence[Packed]) -> list[Any]:
        """Send commands, and wait for as many replies; an error reply stands in its place.

        Whoever gives up waiting cancels this, which ends the connection.

        Raises: RedisError or OSError when the connection failed.
        """

    async def renew(self) -> None:
        """Let whatever is sent next go by a connection that is made for it."""

    async def close(self) -> None:
        """End every connection."""


def lines_to(redis: Redis) -> Lines:
    """Give the lines that suit this client."""
    return ClusterLines(redis) if isinstance(redis, RedisCluster) else ServerLines(redis)


class ServerLines:
    """Lines to one server: connections at rest, the last one used on top."""

    def __init__(self, redis: RedisServer) -> None:
        self._redis = redis
        self._resting: list[_Line] = []

    def pack(self, command: tuple[Word, ...]) -> bytes:
        """Write a command as RESP."""
        _check(command)
        # Its stub names a tuple of one word.
        return hiredis.pack_command(cast("Any", command))  # type: ignore[no-any-return]

    async def exchange(self, commands: Sequence[bytes]) -> list[Any]:
        """See `Lines`."""
        line = await self._line()
        try:
            replies = await line.exchange(commands)
        except BaseException:
            # A reply may still be on its way: nothing can be asked here any more.
            await line.close()
            raise
        self._resting.append(line)
        return replies

    async def renew(self) -> None:
        """See `Lines`."""
        while self._resting:
            await self._resting.pop().close()

    async def close(self) -> None:
        """See `Lines`."""
        await self.renew()
        await self._redis.aclose()

    async def _line(self) -> _Line:
        while self._resting:
            line = self._resting.pop()
            if not line.is_lost:
                return line
            await line.close()
        pool: Any = self._redis.connection_pool
        connection: AbstractConnection = pool.make_connection()
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return _Line(connection)


class ClusterLines:
    """Lines to a cluster, by redis-py's own pipeline."""

    def __init__(self, redis: RedisCluster) -> None:
        self._redis = redis

    def pack(self, command: tuple[Word, ...]) -> tuple[Word, ...]:
        """Encode here what could fail inside a pipeline, and there would fail the neighbours."""
        _check(command)
        # The name of a command stays text: redis-py finds its slot by it.
        return (
            command[0],
            *(word.encode() if isinstance(word, str) else word for word in command[1:]),
        )

    async def exchange(self, commands: Sequence[tuple[Word, ...]]) -> list[Any]:
        """See `Lines`."""
        pipeline = self._redis.pipeline(transaction=False)
        for command in commands:
            _ = pipeline.execute_command(*command)  # the pipeline itself, once more
        return await pipeline.execute(raise_on_error=False)

    async def renew(self) -> None:
        """See `Lines`; who holds which slots is asked again as well."""
        await self._redis.aclose()

    async def close(self) -> None:
        """See `Lines`."""
        await self._redis.aclose()


class _Line(asyncio.Protocol):
    """One open connection, taken over from redis-py once it is set up.

    Args:
        connection: Open, authenticated and with nothing unread.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=DefaultParser.parse_error,
            notEnoughData=_UNFINISHED,
        )
        self._replies: list[Any] = []
        self._awaited = 0
        self._waiter: asyncio.Future[list[Any]] | None = None
        self.is_lost = False
        writer = connection._writer  # noqa: SLF001 - redis-py offers no other way to its transport
        if writer is None:
            raise RedisConnectionError("the connection was lost as it was made")
        self._transport = cast("asyncio.Transport", writer.transport)
        self._transport.set_protocol(self)

    def exchange(self, commands: Sequence[bytes]) -> asyncio.Future[list[Any]]:
        """Send commands; the future gets the replies, or the error that ended the connection."""
        self._waiter = self._loop.create_future()
        self._awaited, self._replies = len(commands), []
        self._transport.write(b"".join(commands))
        return self._waiter

    async def close(self) -> None:
        """End the connection."""
        self._waiter, self.is_lost = None, True
        await self._connection.disconnect(nowait=True)

    def data_received(self, data: bytes) -> None:
        """Read what came in; the last reply that is awaited wakes the waiter."""
        reader, replies = self._reader, self._replies
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _UNFINISHED:
                replies.append(reply)
        except InvalidResponse as error:
            self._fail(error)
            return
        if len(replies) < self._awaited:
            return
        if len(replies) > self._awaited or self._waiter is None:
            self._fail(InvalidResponse("Redis sent a reply that nobody asked for"))
        elif not self._waiter.done():
            self._waiter.set_result(replies)
            self._waiter, self._awaited, self._replies = None, 0, []

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the waiter that no reply will come."""
        self._fail(RedisConnectionError(f"Redis ended the connection: {exc or 'end of stream'}"))

    def _fail(self, error: Exception) -> None:
        self.is_lost = True
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
        self._transport.abort()


def _check(command: tuple[Word, ...]) -> None:
    if not _WORDS.issuperset(map(type, command)):
        odd = next(type(word).__name__ for word in command if type(word) not in _WORDS)
        raise TypeError(f"a command is made of str, bytes and int, not {odd}")
