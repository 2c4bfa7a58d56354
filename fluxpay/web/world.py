"""The world as the service sees it: every effect of the core, answered by a real store.

Composition only: who answers what, in which order things open and close. It must not decide.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fluxpay.core import effects
from fluxpay.observability import errors, logs
from fluxpay.stores.batch_writer import BatchWriter
from fluxpay.stores.books import Books
from fluxpay.stores.commits import UNWATCHED, CommitWatch
from fluxpay.stores.connection import SessionLimits
from fluxpay.stores.counters import Counters
from fluxpay.stores.database import Database, require_schema
from fluxpay.stores.key_cache import KeyCache
from fluxpay.stores.local_counters import LocalCounters
from fluxpay.stores.payment_changes import PaymentChanges
from fluxpay.stores.payments import Payments
from fluxpay.stores.pool import are_cut_off
from fluxpay.stores.problems import StoreError
from fluxpay.stores.redis_client import connect
from fluxpay.stores.redis_pipeline import TurnPipeline
from fluxpay.stores.replies import ReplyCache
from fluxpay.stores.tenants import Tenants
from fluxpay.stores.transfers import Transfers
from fluxpay.stores.writer import PaymentWriter
from fluxpay.web.origins import MEMORY, Origin, origins

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from fluxpay.core.credentials import Credential
    from fluxpay.core.effects import AnyEffect, Effect, FindApiKey
    from fluxpay.settings import Settings
    from fluxpay.stores.peers import Peer
    from fluxpay.stores.pool import Pool

R = TypeVar("R")

_LOG: Final = logs.logger("fluxpay.web")
# As many connections as a service that sends each command by itself would pool.
_ALONE_IN_FLIGHT_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Told:
    """Whom the world tells what happens in it.

    Args:
        degraded: Told True when Redis is given up, False when it answers again.
        pipeline: Told the size of each pipeline of commands to Redis.
        key_looked_up: Told how long Postgres took to find a key, in seconds, and what went wrong
            if anything did.
    """

    degraded: Callable[[bool], None] = lambda _: None
    pipeline: Callable[[int], None] = lambda _: None
    key_looked_up: Callable[[float, BaseException | None], None] = lambda *_: None


class World:
    """Answers effects from Postgres, Redis and this process's memory; `open` makes it."""

    def __init__(
        self,
        settings: Settings,
        *,
        watch: Callable[[Callable[[], Peer]], CommitWatch] = lambda _: UNWATCHED,
        told: Told = Told(),
    ) -> None:
        # What a request may take as a whole bounds what one statement of it may take.
        limits = SessionLimits(statement_timeout_s=settings.request_timeout_s / 2)
        database = self._database = Database(settings.database_url, limits=limits)
        # Reads and commits borrow from different pools, so that neither can starve the other.
        self._readers: Pool = database.pool(max_size=settings.database_pool_max)
        self._committers: Pool = database.pool(max_size=settings.commit_writers)
        self.pools: Mapping[str, Pool] = {"reader": self._readers, "writer": self._committers}
        looking_on = watch(lambda: database.peer)
        self.writer = PaymentWriter(
            self._committers,
            batch_max=settings.commit_batch_max,
            writers_max=settings.commit_writers,
            watch=looking_on,
        )
        self.redis = _pipeline(settings, told)
        self._postgres = database.peer
        self._origins = origins(postgres=self._postgres, redis=self.redis.peer)
        payments, tenants = Payments(self._readers), Tenants(self._readers)
        books = Books(self._readers)
        transfers = Transfers(self._readers)
        counters, local = Counters(self.redis), LocalCounters(_now_ms)
        replies = ReplyCache(
            self.redis,
            ttl_s=settings.idempotency_ttl_s,
            generation=lambda: database.identity,
        )
        self.keys = KeyCache(
            _timed(tenants.find_api_key, told.key_looked_up), monotonic_s=time.monotonic
        )
        self._answers: dict[type[Effect[Any]], Callable[[Any], Coroutine[Any, Any, Any]]] = {
            effects.FindApiKey: self.keys.find,
            effects.CountRequest: counters.count_request,
            effects.CountRequestLocally: _at_once(local.count_request),
            effects.CountVelocity: counters.count_velocity,
            effects.CountVelocityLocally: _at_once(local.count_velocity),
            effects.ReadReply: lambda effect: replies.read(effect.claim),
            effects.RememberReply: _at_once(
                lambda effect: replies.remember(effect.claim, effect.reply)
            ),
            effects.FindRecord: payments.find_record,
            effects.RecordReply: payments.record_reply,
            effects.PostPayment: lambda effect: self.writer.post(effect.posting),
            effects.PostBatch: BatchWriter(self._readers, watch=looking_on).post,
            effects.ChangePayment: PaymentChanges(self._readers).change,
            effects.PostTransfer: transfers.post,
            effects.FindTransfer: transfers.find,
            effects.PutAccount: transfers.put_account,
            effects.SetNoOverdraft: transfers.set_no_overdraft,
            effects.FindPayment: payments.find,
            effects.ListPayments: payments.list,
            effects.ListPaymentEntries: payments.entries,
            effects.ListRefunds: payments.refunds,
            effects.FindAccount: books.find_account,
            effects.ListAccounts: books.list_accounts,
            effects.ReadTotals: books.totals,
            effects.ReadTrialBalance: books.trial_balance,
            effects.ReadStatement: books.statement,
            **self._admin_answers(tenants),
        }

    @classmethod
    async def open(
        cls,
        settings: Settings,
        *,
        watch: Callable[[Callable[[], Peer]], CommitWatch] = lambda _: UNWATCHED,
        told: Told = Told(),
    ) -> World:
        """Connect to Postgres and check its schema. Redis may be missing: it comes when it comes.

        Args:
            settings: Where the stores are, and how far they may be used.
            watch: Makes who looks on while payments are committed; told how to ask where.
            told: Who else wants to know what happens.

        Raises:
            StoreUnavailable: Postgres cannot be reached.
            SchemaBehind: `fluxpay migrate` has to run first.
        """
        world = cls(settings, watch=watch, told=told)
        try:
            await require_schema(world._readers)
            await world._committers.warm(settings.commit_writers)
        except BaseException:
            await world.close()
            raise
        return world

    @property
    def is_database_gone(self) -> bool:
        """Whether Postgres is gone, by the latest that any pool knows."""
        return are_cut_off(self.pools.values())

    def perform(self, effect: Effect[R]) -> Coroutine[Any, Any, R]:
        """Answer one effect.

        Raises:
            StoreError: The store that has the answer could not be asked.
        """
        return self._answers[type(effect)](effect)

    def origin(self, effect: Effect[Any]) -> Origin:
        """Say where the answer came from; asked by whoever has just got it, before it waits."""
        kind = type(effect)
        if kind is effects.FindApiKey and self.keys.was_hit:
            return MEMORY
        if self._database.peer is not self._postgres:
            # Another host of the URL has taken over.
            self._postgres = self._database.peer
            self._origins = origins(postgres=self._postgres, redis=self.redis.peer)
        return self._origins[kind]

    async def check(self, *, timeout_s: float) -> dict[str, bool]:
        """Ask every dependency whether it serves, by the names that readiness reports.

        Args:
            timeout_s: How long the database has; Redis has the time of any round trip. So one that
                does not answer leaves no doubt about the other.
        """
        (database, schema), redis = await asyncio.gather(
            self._check_database(timeout_s), self._ping()
        )
        return {"database": database, "redis": redis, "schema": schema}

    async def close(self) -> None:
        """Commit what is queued, then let go of everything."""
        await self.writer.close()
        await asyncio.gather(self._committers.close(), self._readers.close())
        await self.redis.close()

    def _admin_answers(
        self, tenants: Tenants
    ) -> dict[type[Effect[Any]], Callable[[Any], Coroutine[Any, Any, Any]]]:
        return {
            effects.PutTenant: self._changing(tenants.put),
            effects.FindTenant: tenants.find,
            effects.ListTenants: tenants.list,
            effects.CloseTenant: self._changing(tenants.close),
            effects.PutApiKey: self._changing(tenants.put_api_key),
            effects.ListApiKeys: tenants.list_api_keys,
            effects.RevokeApiKey: self._changing(tenants.revoke_api_key),
        }

    def _changing(
        self, write: Callable[[Any], Coroutine[Any, Any, Any]]
    ) -> Callable[[Any], Coroutine[Any, Any, Any]]:
        """Forget looked-up keys after a change, so that this process shows it at once."""

        async def written(effect: AnyEffect) -> object:
            try:
                return await write(effect)
            finally:
                # Also after a failure: the outcome may be unknown.
                self.keys.clear()

        return written

    async def _check_database(self, timeout_s: float) -> tuple[bool, bool]:
        serves = has_schema = False
        try:
            async with asyncio.timeout(timeout_s):
                async with self._readers.connection() as connection:
                    await connection.execute("SELECT 1")
                serves = True
                await require_schema(self._readers)
                has_schema = True
        except StoreError:
            pass  # It answered, if only that it does not serve.
        except TimeoutError as error:
            _LOG.warning("dependencies_unanswered", error=errors.told(error))
        return serves, has_schema

    async def _ping(self) -> bool:
        return await self.redis.ping()


def _pipeline(settings: Settings, told: Told) -> TurnPipeline:
    redis = connect(settings.redis_url, timeout_ms=settings.redis_timeout_ms)
    if settings.commit_batch_max > 1:
        return TurnPipeline(redis, on_change=told.degraded, on_sent=told.pipeline)
    # Who switches batching off, to see what it is worth, means that of Redis commands as well.
    return TurnPipeline(
        redis,
        on_change=told.degraded,
        on_sent=told.pipeline,
        commands_max=1,
        in_flight_max=_ALONE_IN_FLIGHT_MAX,
    )


def _timed(
    find: Callable[[FindApiKey], Coroutine[Any, Any, Credential | None]],
    on_done: Callable[[float, BaseException | None], None],
) -> Callable[[FindApiKey], Coroutine[Any, Any, Credential | None]]:
    async def found(effect: FindApiKey) -> Credential | None:
        begun_s, failed = time.perf_counter(), None
        try:
            return await find(effect)
        except BaseException as error:
            failed = error
            raise
        finally:
            on_done(time.perf_counter() - begun_s, failed)

    return found


def _at_once(answer: Callable[[Any], Any]) -> Callable[[Any], Coroutine[Any, Any, Any]]:
    async def answered(effect: AnyEffect) -> object:
        return answer(effect)

    return answered


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
