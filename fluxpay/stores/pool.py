"""A small, fair pool of sessions.

Knows who waits, who has borrowed, and what rests. It knows no SQL. A borrower first gets one of
`max_size` slots, in order of arrival, and only then looks for a connection: the last one given
back, or a new one, dialled under no lock. Giving back frees the slot whatever became of the
connection, so a waiter wakes each time.

aiopg's own pool does none of this: it wakes nobody when a closed or busy connection comes back,
dials while it holds its lock, and serves no order. Like it, we reset no session state between
borrowers: whoever borrows sets with `SET LOCAL` and takes locks that end with the transaction.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Final

from fluxpay.stores.connection import Connection, SessionLimits, connect
from fluxpay.stores.patience import Patience, Watch
from fluxpay.stores.problems import PoolExhausted, StoreUnavailable

# A fleet started at one moment does not redial at one moment.
_LIFETIME_JITTER: Final = 0.2
_NEVER_S: Final = float("-inf")
# A server that is full refuses now and then, and serves those who are in: that is told as well.
_REFUSAL_COUNTS_S: Final = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class _Member:
    connection: Connection
    expires_at: float


class Pool:
    """At most `max_size` sessions, handed out first come, first served.

    Args:
        dsn: a libpq URL, with one host or several.
        max_size: sessions at most, borrowed, resting and being dialled together.
        limits: what the server holds each session to.
        connect_timeout_s: for each address that a dial tries.
        acquire_timeout_s: how long a borrower waits for its turn; dialling comes on top.
        max_lifetime_s: a session older than this is replaced; up to a fifth less, at random.
        on_connect: prepares each new session before its first borrower.
    """

    def __init__(
        self,
        dsn: str,
        *,
        max_size: int,
        limits: SessionLimits,
        connect_timeout_s: float,
        acquire_timeout_s: float,
        max_lifetime_s: float,
        on_connect: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> None:
        if max_size < 1:
            raise ValueError("a pool needs room for one connection")
        self._dsn = dsn
        self.max_size: Final = max_size
        self.timeouts = 0
        """How many borrowers gave up waiting for their turn."""
        self.refused_at_s = self.dialled_at_s = self.answered_at_s = _NEVER_S
        """When a dial last found nobody and somebody, and when a session last came back well.

        Not by the loop's clock: uvloop reads it once a turn, in which all of it may happen.
        """
        self._limits = limits
        self._connect_timeout_s = connect_timeout_s
        self._acquire_timeout_s = acquire_timeout_s
        self._watch = Watch(acquire_timeout_s)
        self._max_lifetime_s = max_lifetime_s
        self._on_connect = on_connect
        self._slots_free = max_size
        self._resting: list[_Member] = []
        self._borrowed: set[_Member] = set()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closing = False
        self._emptied = asyncio.Event()

    @property
    def size(self) -> int:
        """Sessions that are borrowed, resting or being dialled."""
        return self.used + len(self._resting)

    @property
    def idle(self) -> int:
        """Sessions at rest."""
        return len(self._resting)

    @property
    def used(self) -> int:
        """Sessions that are borrowed or being dialled."""
        return self.max_size - self._slots_free

    @property
    def waiting(self) -> int:
        """Borrowers whose turn has not come."""
        return len(self._waiters)

    def connection(self) -> "Loan":
        """Lend a session for the block.

        Raises:
            PoolExhausted: the turn did not come within `acquire_timeout_s`.
            StoreUnavailable: no host answers, or the pool is closing.
        """
        return Loan(self)

    async def borrow(self) -> _Member:
        """Wait for a turn and a session; whoever gets it must `give_back`. Raises: as above."""
        await self._take_slot()
        try:
            member = self._rested() or await self._dialled()
        except BaseException:
            self._free_slot()
            raise
        self._borrowed.add(member)
        return member

    def give_back(self, member: _Member) -> None:
        """End a loan, whatever became of the session."""
        try:
            self._put_to_rest(member)
        finally:
            self._free_slot()

    async def warm(self, count: int) -> None:
        """Have `count` sessions at rest, so that the first requests need not dial."""
        async with AsyncExitStack() as borrowed:
            for _ in range(min(count, self.max_size)):
                await borrowed.enter_async_context(self.connection())

    async def close(self, *, timeout_s: float = 5.0) -> None:
        """Refuse new borrowers, wait for those who have borrowed, then end every session.

        Args:
            timeout_s: after this, borrowed sessions are closed under their borrowers.
        """
        self._closing = True
        while self._waiters:
            turn = self._waiters.popleft()
            if not turn.done():
                turn.set_exception(_closing())
        while self._resting:
            self._resting.pop().connection.close()
        if self._slots_free == self.max_size:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._emptied.wait()
        except TimeoutError:
            for member in self._borrowed:
                member.connection.close()

    async def _take_slot(self) -> None:
        if self._closing:
            raise _closing()
        # A slot is free only while nobody waits: freeing one hands it to the first waiter.
        if self._slots_free:
            self._slots_free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiters.append(turn)
        try:
            with Patience(self._watch):
                await turn
        except TimeoutError:
            self._forgo(turn)
            self.timeouts += 1
            raise PoolExhausted(
                f"all {self.max_size} connections stayed busy for {self._acquire_timeout_s:g} s"
            ) from None
        except asyncio.CancelledError:
            self._forgo(turn)
            raise

    def _forgo(self, turn: asyncio.Future[None]) -> None:
        """Leave the queue; a slot that was handed over in the same moment goes to the next."""
        if turn in self._waiters:
            self._waiters.remove(turn)
        elif turn.done() and not turn.cancelled() and turn.exception() is None:
            self._free_slot()

    def _free_slot(self) -> None:
        while self._waiters:
            turn = self._waiters.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._slots_free += 1
        if self._closing and self._slots_free == self.max_size:
            self._emptied.set()

    def _rested(self) -> _Member | None:
        """Take the session that came back last; those the server has ended are swept out."""
        now = asyncio.get_running_loop().time()
        while self._resting:
            member = self._resting.pop()
            if member.expires_at > now and member.connection.reusable:
                return member
            member.connection.close()
        return None

    async def _dialled(self) -> _Member:
        try:
            connection = await connect(
                self._dsn, limits=self._limits, connect_timeout_s=self._connect_timeout_s
            )
        except (StoreUnavailable, asyncio.CancelledError):
            # Whoever lost patience found nobody either: a probe's is shorter than a dial's.
            self.refused_at_s = perf_counter()
            raise
        self.dialled_at_s = perf_counter()
        try:
            if self._on_connect is not None:
                await self._on_connect(connection)
        except BaseException:
            connection.close()
            raise
        # Spreading wants no secrecy, only difference.
        share = 1 - _LIFETIME_JITTER * random.random()  # noqa: S311
        return _Member(connection, connection.opened_at + self._max_lifetime_s * share)

    def _put_to_rest(self, member: _Member) -> None:
        self._borrowed.discard(member)
        now = asyncio.get_running_loop().time()
        # The bottom of the stack is borrowed only under load, and would outlive its time unseen.
        while self._resting and self._resting[0].expires_at <= now:
            self._resting.pop(0).connection.close()
        connection = member.connection
        # Whether the server has spoken meanwhile is asked by the next borrower, and only then.
        if self._closing or member.expires_at <= now or not connection.at_rest:
            connection.close()
        else:
            self.answered_at_s = perf_counter()
            self._resting.append(member)


class Loan:
    """The loan of one session for one block; `Pool.connection` makes it."""

    __slots__ = ("_member", "_pool")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __aenter__(self) -> Connection:
        """Borrow."""
        self._member = await self._pool.borrow()
        return self._member.connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give back."""
        self._pool.give_back(self._member)


def are_cut_off(pools: Collection[Pool]) -> bool:
    """Tell whether the one database of these pools is gone, by the latest that any of them knows.

    A pool that nobody borrows from would tell of a dial of long ago, and one whose sessions all
    live on need not dial again for half an hour.
    """
    refused_s = max((pool.refused_at_s for pool in pools), default=_NEVER_S)
    dialled_s = max((pool.dialled_at_s for pool in pools), default=_NEVER_S)
    answered_s = max((pool.answered_at_s for pool in pools), default=_NEVER_S)
    return refused_s > dialled_s and refused_s + _REFUSAL_COUNTS_S > answered_s


def _closing() -> StoreUnavailable:
    return StoreUnavailable("the pool is closing")
