"""What is read of the stores whenever metrics are asked for: pools, queues, caches, what is gone.

The stores count for themselves and know no metric; a request pays nothing for any of this. Knows
names and labels, and the figures that stores show. Must not know how a store works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fluxpay.observability.instruments import Readings

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client.registry import CollectorRegistry

    from fluxpay.observability.instruments import Labels
    from fluxpay.stores.pool import Pool
    from fluxpay.web.world import World

_POOL: Final = "db_client_connection_pool_name"
_STATE: Final = "db_client_connection_state"
_POOLS: Final = ("reader", "writer")


class StoreReadings:
    """Registers what is read; all of it is 0 until there is a world to look at."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._world: World | None = None
        self._register_pools()
        self._register_queues()
        self._register_key_cache()

    def watch(self, world: World) -> None:
        """Read from this world from now on."""
        self._world = world

    def forget(self, world: World) -> None:
        """Read no more from a world that is closed."""
        if self._world is world:
            self._world = None

    def _register_pools(self) -> None:
        # Not `db_client_connection_count`, as the conventions have it: where a name ends so, the
        # rules of Prometheus expect a histogram.
        Readings(
            self._registry,
            "db_client_connections",
            "Connections to Postgres, by what they do.",
            [_POOL, _STATE],
            read=lambda: {
                **self._of_pools(lambda pool: pool.idle, "idle"),
                **self._of_pools(lambda pool: pool.used, "used"),
            },
        )
        Readings(
            self._registry,
            "db_client_connection_max",
            "The most connections that a pool may have.",
            [_POOL],
            read=lambda: self._of_pools(lambda pool: pool.max_size),
        )
        Readings(
            self._registry,
            "db_client_connection_pending_requests",
            "Who waits for a connection.",
            [_POOL],
            read=lambda: self._of_pools(lambda pool: pool.waiting),
        )
        Readings(
            self._registry,
            "db_client_connection_timeouts",
            "Who has waited for a connection in vain.",
            [_POOL],
            read=lambda: self._of_pools(lambda pool: pool.timeouts),
            is_counter=True,
        )

    def _register_queues(self) -> None:
        Readings(
            self._registry,
            "fluxpay_commit_queue_depth",
            "Payments that wait for a commit to take them.",
            read=lambda: self._of_world(lambda world: world.writer.waiting),
        )
        Readings(
            self._registry,
            "fluxpay_redis_queue_depth",
            "Commands that wait for a pipeline to Redis.",
            read=lambda: self._of_world(lambda world: world.redis.waiting),
        )
        Readings(
            self._registry,
            "fluxpay_redis_lost",
            "Commands to Redis that nobody waits for, and that failed or were not sent.",
            read=lambda: self._of_world(lambda world: world.redis.lost),
            is_counter=True,
        )
        Readings(
            self._registry,
            "fluxpay_degraded",
            "1 while a dependency is gone.",
            ["dependency"],
            read=lambda: {
                **self._of_world(lambda world: world.redis.degraded, "redis"),
                **self._of_world(lambda world: world.is_database_gone, "database"),
            },
        )

    def _register_key_cache(self) -> None:
        Readings(
            self._registry,
            "fluxpay_key_cache",
            "Look-ups of API keys, by whether memory had the answer.",
            ["result"],
            read=lambda: {
                **self._of_world(lambda world: world.keys.hits, "hit"),
                **self._of_world(lambda world: world.keys.misses, "miss"),
            },
            is_counter=True,
        )
        Readings(
            self._registry,
            "fluxpay_key_cache_entries",
            "API keys in memory.",
            read=lambda: self._of_world(lambda world: world.keys.entries),
        )

    def _of_world(self, figure: Callable[[World], float], *labels: str) -> dict[Labels, float]:
        return {labels: 0 if self._world is None else figure(self._world)}

    def _of_pools(self, figure: Callable[[Pool], float], *more: str) -> dict[Labels, float]:
        pools = {} if self._world is None else self._world.pools
        return {(name, *more): figure(pools[name]) if pools else 0 for name in _POOLS}
