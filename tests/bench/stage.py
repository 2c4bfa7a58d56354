"""Everything that is measured, started as in production: Postgres, Valkey and service processes.

Postgres syncs every commit, row-level security is on, every tenant has a rate limit and fraud
limits that are asked for each payment, metrics and logs are on, and one trace in a hundred is
sampled and sent to a collector. All that is missing is what a bench must not meet: a limit that
says no.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg2

from fluxpay.embedded.postgres import EmbeddedPostgres
from fluxpay.embedded.valkey import EmbeddedValkey
from fluxpay.stores.migrations import migrate
from tests.bench import preload
from tests.conftest import Database
from tests.e2e.serving import Customer, Service, enroll, serving

TENANTS: Final = 100
_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_RATIO: Final = "OTEL_TRACES_SAMPLER_ARG"
_PRODUCTION: Final = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", _RATIO: "0.01"}
# What a database server of this size would be given: some gigabytes of memory, and checkpoints
# that are minutes apart. What runs beside `fluxpay dev` takes far less.
_SERVER: Final = {
    "shared_buffers": "3GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "15min",
    # Every service of every variant keeps its own while pgbench opens many more.
    "max_connections": "300",
}
# As in deploy/compose.yaml: it is a cache, and what keeps payments is Postgres.
_CACHE: Final = {"appendonly": "no"}
_NEVER_REACHED: Final = 10_000_000
_FRAUD_LIMITS: Final = [
    {
        "currency": "EUR",
        "max_amount": 1_000_000,
        "daily_volume": _NEVER_REACHED * 1_000_000,
        "velocity": {"count": _NEVER_REACHED, "window_s": 60},
    }
]
BALANCES, SOAK = "balances", "soak"
_EMPTY: Final = "fluxpay"


@dataclass(frozen=True, slots=True)
class House:
    """Service processes that share a port, and the tenants they serve."""

    services: tuple[Service, ...]
    customers: list[Customer]

    @property
    def pids(self) -> list[int]:
        """The service processes."""
        return [one.process.pid for one in self.services]


@dataclass(frozen=True, slots=True)
class Stage:
    """All that runs while variants take turns.

    Args:
        empty_url: where an aiohttp server with an empty handler answers.
    """

    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    houses: Mapping[str, House]
    empty_url: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be started.

    Args:
        houses: by name; see `_houses`.
        payments: how many the preloaded database holds.
        rival: another checkout, whose service is measured too.
    """

    houses: frozenset[str]
    payments: int
    rival: Path | None


@asynccontextmanager
async def staged(
    directory: Path, wish: Wish, *, tell: Callable[[str], None]
) -> AsyncIterator[Stage]:
    """Start it all for the length of a block."""
    tell("starting Postgres and Valkey")
    postgres = EmbeddedPostgres.start(directory / "postgres", settings=_SERVER)
    valkey = EmbeddedValkey.start(directory / "valkey", settings=_CACHE)
    try:
        async with AsyncExitStack() as stack:
            log = stack.enter_context((directory / "services.log").open("wb"))
            (empty_url,) = await stack.enter_async_context(_helper("empty"))
            collectors = await stack.enter_async_context(_helper("collector"))
            opened = _Opened(stack, postgres, valkey, log.fileno(), *collectors)
            houses = await _houses(opened, wish, tell=tell)
            yield Stage(postgres, valkey, houses, empty_url)
    finally:
        valkey.stop()
        postgres.stop()


@dataclass(frozen=True, slots=True)
class _Opened:
    stack: AsyncExitStack
    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    log: int
    collector_url: str
    deaf_url: str

    def database(self, name: str, *, migrated: bool = True) -> Database:
        """An empty database."""
        if name != _EMPTY:
            with closing(psycopg2.connect(self.postgres.owner_url("postgres"))) as connection:
                connection.autocommit = True
                connection.cursor().execute(f"CREATE DATABASE {name}")
        owner_url = self.postgres.owner_url(name)
        if migrated:
            migrate(owner_url, report=lambda _: None)
        return Database(owner_url, self.postgres.app_url(name), name)

    async def serve(self, database: Database, **given: Any) -> Service:
        """One more service process."""
        wanted = {**_PRODUCTION, _ENDPOINT: self.collector_url, **given}
        return await self.stack.enter_async_context(
            serving(database, self.valkey.url, stderr=self.log, **wanted)
        )


async def _houses(opened: _Opened, wish: Wish, *, tell: Callable[[str], None]) -> dict[str, House]:
    database = opened.database(_EMPTY)
    tell("starting the service, making 100 tenants")
    first = await opened.serve(database)
    customers = await _enrolled(first)
    houses = {"one": House((first,), customers)}
    if "two" in wish.houses:
        one = await opened.serve(database)
        port = one.api_url.rpartition(":")[2]
        houses["two"] = House((one, await opened.serve(database, FLUXPAY_PORT=port)), customers)
    if "unbatched" in wish.houses:
        # Writers as a service would pool that commits each payment by itself: one would wait for
        # every flush, and make the comparison too easy.
        alone = await opened.serve(
            database, FLUXPAY_COMMIT_BATCH_MAX="1", FLUXPAY_COMMIT_WRITERS="8"
        )
        houses["unbatched"] = House((alone,), customers)
    traced = {
        "untraced": {_RATIO: "0"},
        "traced": {_RATIO: "1"},
        "deaf": {_ENDPOINT: opened.deaf_url},
    }
    for name in traced.keys() & wish.houses:
        houses[name] = House((await opened.serve(database, **traced[name]),), customers)
    if SOAK in wish.houses:
        houses[SOAK] = House((await opened.serve(database),), customers)
    if BALANCES in wish.houses:
        houses[BALANCES] = House((await opened.serve(opened.database("balances")),), [])
    if wish.rival is not None:
        houses["rival"] = await _rival(opened, wish.rival)
    if "preloaded" in wish.houses:
        loaded = opened.database("preloaded")
        service = await opened.serve(loaded)
        houses["preloaded"] = House((service,), await _enrolled(service))
        tenants = [one.tenant_id for one in houses["preloaded"].customers]
        await asyncio.to_thread(preload.fill, loaded.owner_url, tenants, wish.payments, tell=tell)
    return houses


async def _rival(opened: _Opened, checkout: Path) -> House:
    """The service of another checkout, on a database that it has migrated itself."""
    program = str(checkout / ".venv/bin/fluxpay")
    database = opened.database("rival", migrated=False)
    process = await asyncio.create_subprocess_exec(
        program,
        "migrate",
        env={"FLUXPAY_OWNER_DATABASE_URL": database.owner_url},
        stdout=asyncio.subprocess.DEVNULL,
    )
    if await process.wait() != 0:
        raise SystemExit(f"bench: {program} migrate failed")
    service = await opened.serve(database, program=(program,))
    return House((service,), await _enrolled(service))


async def _enrolled(service: Service) -> list[Customer]:
    return [
        await enroll(service, requests_a_minute=_NEVER_REACHED, payment_limits=_FRAUD_LIMITS)
        for _ in range(TENANTS)
    ]


@asynccontextmanager
async def _helper(name: str) -> AsyncIterator[list[str]]:
    """A server of the bench's own, and the URLs it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"tests.bench.{name}", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().split()
    finally:
        process.kill()
        await process.wait()
