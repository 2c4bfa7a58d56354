"""The service under random lives, and what happens in it besides requests.

Knows how to seal, to expire, to lose Redis and to let time pass. Must not know the model.
"""

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import psycopg2
import redis

from fluxpay.stores.connection import SessionLimits
from fluxpay.stores.database import Database as Store
from fluxpay.stores.payment_changes import PaymentChanges
from fluxpay.stores.pool import Pool
from fluxpay.stores.sealing import Sealing
from fluxpay.worker.jobs import Expiry
from tests.conftest import Database
from tests.e2e.serving import Service, start


@dataclass(frozen=True, slots=True)
class World:
    """One service with its stores, for as many tenants as there are lives."""

    runner: asyncio.Runner
    service: Service
    pool: Pool
    owner_url: str
    redis_url: str
    proved: list[str] = field(default_factory=list)
    """The tenants whose lives were checked to the end."""

    def expire(self) -> None:
        """One round of the worker's expiry."""
        self.runner.run(Expiry(PaymentChanges(self.pool)).run())

    def seal(self, at_most: int) -> None:
        """One round of the worker's sealing."""
        self.runner.run(Sealing(self.pool).seal(at_most))

    def forget_replies(self) -> None:
        """Lose all that Redis holds."""
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushall()

    def let_time_pass(self, payment_id: str) -> None:
        """Put the end of an authorization into the past."""
        sql = "UPDATE payments SET expires_at = now() - interval '1 hour' WHERE id = %s"
        with closing(psycopg2.connect(self.owner_url)) as connection, connection:
            connection.cursor().execute(sql, (payment_id,))


@contextmanager
def world_of(database: Database, redis_url: str) -> Iterator[World]:
    """A service in a process of its own, for the length of a block."""
    with asyncio.Runner() as runner:
        service = runner.run(start(database, redis_url))
        pool = Store(database.app_url, limits=SessionLimits()).pool(max_size=1)
        try:
            yield World(runner, service, pool, database.owner_url, redis_url)
        finally:
            runner.run(pool.close())
            code = runner.run(service.stop())
        assert code == 0
