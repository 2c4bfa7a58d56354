"""Redis commands of one event-loop turn, sent together.

All that is asked in one turn of the loop travels together, flushed when the turn
ends. There is no timer: an idle service waits for nobody, and while a few pipelines are in flight
the next commands gather for one that is larger, and cheaper a command. Each command has its own
answer or its own error; what fails as a whole is the connection, and then a breaker spares the
requests that follow the wait.

Knows event loops and time limits; it must not know what the commands mean. What is lost
here may have been carried out all the same: nothing that decides about money goes through it.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from typing import Any, Final

from redis import exceptions
from redis.exceptions import (
    ClusterDownError,
    NoScriptError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from fluxpay.stores.breaker import Breaker
from fluxpay.stores.patience import Patience, Watch
from fluxpay.stores.redis_client import RedisClient, connect
from fluxpay.stores.redis_lines import Packed, Word, lines_to

# Whoever opens a pipeline takes all of it from here.
__all__ = ["RedisUnavailable", "Script", "TurnPipeline", "Word", "connect"]

IN_FLIGHT_MAX: Final = 2
"""Pipelines on their way at once; each has a connection of its own."""

# A longer pipeline would hold up the loop when its replies are read.
COMMANDS_MAX: Final = 512
_QUEUE_MAX: Final = 10_000
_PAUSE_S: Final = 1.0
# A pipeline belongs to none of the requests whose commands it carries.
_NOBODYS: Final = Context()

# What the server, or the way to it, answers instead of doing as it is asked. A primary that became
# a replica is one of them: the connection to it has to be replaced.
_BROKEN: Final = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    ReadOnlyError,
    ClusterDownError,
)
# RedisClusterException stands outside the tree of RedisError.
_FAILURES: Final = (RedisError, RedisClusterException, OSError)


class RedisUnavailable(Exception):
    """Redis was not asked, or its answer never came; the command may have been carried out."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the SHA-1 by which the server keeps it."""

    source: str
    sha: str

    @staticmethod
    def read(name: str) -> "Script":
        """Read a script that lies beside this module."""
        source = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
        return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


_Command = tuple[Packed, asyncio.Future[Any] | None]
"""What is sent, and who gets the reply, or the error as a value; None when nobody waits."""


class TurnPipeline:
    """Sends what is asked in one turn of the loop in one pipeline.

    Args:
        client: Made by `connect`; its time limit holds for each pipeline as a whole, connecting
            included. It is closed with the pipeline.
        on_change: Told True when Redis is given up and False when it answers again.
        on_sent: Told the number of commands of each pipeline.
        commands_max: The most commands of one pipeline.
        in_flight_max: The most pipelines on their way at once.
    """

    def __init__(
        self,
        client: RedisClient,
        *,
        on_change: Callable[[bool], None] = lambda _: None,
        on_sent: Callable[[int], None] = lambda _: None,
        commands_max: int = COMMANDS_MAX,
        in_flight_max: int = IN_FLIGHT_MAX,
    ) -> None:
        self._commands_max = commands_max
        self._in_flight_max = in_flight_max
        self._on_sent = on_sent
        # Kept, since asking for it is a system call before Python 3.12, and every command asks.
        self._loop = asyncio.get_running_loop()
        self._lines = lines_to(client.redis)
        self._timeout_s = client.timeout_s
        self._watch = Watch(client.timeout_s)
        self._breaker = Breaker(pause_s=_PAUSE_S, on_change=on_change)
        self._queue: deque[_Command] = deque()
        self._flights: set[asyncio.Task[None]] = set()
        self._flush_is_due = False
        self._closing = False
        self._lost = 0
        self.peer: Final = client.peer

    @property
    def degraded(self) -> bool:
        """Whether Redis is given up; a command is needed to find out that it is back."""
        return self._breaker.is_open

    @property
    def waiting(self) -> int:
        """Commands that no pipeline has taken yet."""
        return len(self._queue)

    @property
    def lost(self) -> int:
        """Commands given to `send` so far that failed or were not sent."""
        return self._lost

    async def execute(self, *command: Word) -> Any:
        """Send a command that names a key, and wait for its reply.

        Raises:
            RedisUnavailable: No answer, or not asked: given up, too much queued, closing.
            RedisError: What the server answers to this very command.
        """
        return _given(await self._asked(command))

    def send(self, *command: Word) -> None:
        """Send a command and wait for nothing; what goes wrong is only counted."""
        try:
            self._enqueue((self._lines.pack(command), None))
        except RedisUnavailable:
            self._lost += 1

    async def run(self, script: Script, *, keys: Sequence[str], args: Sequence[Word]) -> Any:
        """Run a script by its digest; a server that forgot it is sent the source.

        Raises: as `execute`.
        """
        reply = await self._asked(("EVALSHA", script.sha, len(keys), *keys, *args))
        if isinstance(reply, NoScriptError):
            reply = await self._asked(("EVAL", script.source, len(keys), *keys, *args))
        return _given(reply)

    async def ping(self) -> bool:
        """Tell whether Redis answers. PING has no key, and so no place in a cluster's pipeline."""
        try:
            await self.execute("EXISTS", "reply:{ping}")
        except ResponseError:
            # It answers, if only that it does not show us this key.
            return True
        except RedisUnavailable:
            return False
        return True

    async def close(self) -> None:
        """Refuse what comes, let what was sent arrive, then end the connections."""
        self._closing = True
        while self._queue or self._flights:
            if self._flights:
                await asyncio.wait(self._flights)
            # Whatever waited in the queue is flushed in the next turn.
            await asyncio.sleep(0)
        with suppress(*_FAILURES):
            async with asyncio.timeout(self._timeout_s):
                await self._lines.close()

    def _asked(self, command: tuple[Word, ...]) -> asyncio.Future[Any]:
        # Errors come as values: a waiter that is gone leaves no exception behind unretrieved.
        waiter: asyncio.Future[Any] = self._loop.create_future()
        self._enqueue((self._lines.pack(command), waiter))
        return waiter

    def _enqueue(self, command: _Command) -> None:
        if self._closing:
            raise RedisUnavailable("the connection to Redis is closing")
        if len(self._queue) >= _QUEUE_MAX:
            raise RedisUnavailable(f"{_QUEUE_MAX} commands wait for Redis already")
        if self._breaker.is_open and not self._breaker.admits(self._loop.time()):
            raise RedisUnavailable("Redis did not answer a moment ago")
        self._queue.append(command)
        if not self._flush_is_due:
            self._flush_soon()

    def _flush_soon(self) -> None:
        if self._flush_is_due or not self._queue or len(self._flights) >= self._in_flight_max:
            return
        self._flush_is_due = True
        self._loop.call_soon(self._flush, context=_NOBODYS)

    def _flush(self) -> None:
        self._flush_is_due = False
        while self._queue and len(self._flights) < self._in_flight_max:
            commands = list(islice(self._queue, self._commands_max))
            for _ in commands:
                self._queue.popleft()
            self._on_sent(len(commands))
            # While the breaker is open, the queue holds nothing but its probe.
            travel = self._travel(commands, probe=self._breaker.is_open)
            flight = self._loop.create_task(travel)
            self._flights.add(flight)
            flight.add_done_callback(self._landed)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flights.discard(flight)
        # The waiters that just got their replies go on before this flush: it takes theirs along.
        self._flush_soon()

    async def _travel(self, commands: list[_Command], *, probe: bool) -> None:
        try:
            with Patience(self._watch):
                if probe:
                    # A connection that looks alive may lead nowhere, or to a former primary.
                    await self._lines.renew()
                replies = await self._lines.exchange([packed for packed, _ in commands])
        except _FAILURES as error:
            self._give_up(commands, error, probe=probe)
        except BaseException as error:
            self._give_up(commands, error, probe=probe)
            raise
        else:
            self._deliver(commands, replies, probe=probe)

    def _deliver(self, commands: list[_Command], replies: list[Any], *, probe: bool) -> None:
        # In a cluster one node can be gone: its commands alone have an error in place of a reply.
        errors = [reply for reply in replies if isinstance(reply, Exception)]
        broken = next((error for error in errors if isinstance(error, _BROKEN)), None)
        if broken is None:
            self._breaker.answered(probe=probe)
        for command, reply in zip(commands, replies, strict=True):
            is_broken = broken is not None and isinstance(reply, _BROKEN)
            self._answer(command, _unavailable(reply) if is_broken else reply)
        if broken is not None:
            self._trip(broken, probe=probe)

    def _give_up(self, commands: list[_Command], error: BaseException, *, probe: bool) -> None:
        for command in commands:
            self._answer(command, _unavailable(error))
        self._trip(error, probe=probe)

    def _trip(self, error: BaseException, *, probe: bool) -> None:
        if not self._breaker.failed(self._loop.time(), probe=probe):
            return
        # Those in the queue would only wait for the same.
        while self._queue:
            self._answer(self._queue.popleft(), _unavailable(error))

    def _answer(self, command: _Command, reply: Any) -> None:
        _, waiter = command
        if waiter is None:
            self._lost += isinstance(reply, Exception)
        elif not waiter.done():
            waiter.set_result(reply)


def _given(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise reply
    return reply


def _unavailable(error: BaseException) -> RedisUnavailable:
    return RedisUnavailable(f"{type(error).__name__}: {error}")
