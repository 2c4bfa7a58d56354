"""What is measured: each variant, and how it has its turn.

Knows which service process a variant asks, and for what. Must not know what is made of the numbers.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

import aiohttp

from tests.bench import pgbench, usage
from tests.bench.load import Job
from tests.bench.measures import Seen
from tests.bench.stage import SOAK, House, Stage
from tests.e2e.serving import Service

CONNECTIONS: Final = 64
CLIENTS: Final = 32
WARM_S: Final = 30.0
_SEEDS: Final = 2_000
_MB: Final = 1_000_000
_BATCHES: Final = "fluxpay_commit_batch_size"


@dataclass(frozen=True, slots=True)
class Variant:
    """One thing to measure.

    Args:
        title: what the table calls it.
        house: whose service is asked; see `stage`.
        does: what is asked for; "pace" is "create" at half the capacity.
        width: connections, or clients of pgbench.
        tenants: how many tenants take turns.
    """

    name: str
    title: str
    does: Literal["create", "replay", "read", "pace", "empty", "bare", "bare batch"]
    house: str = "one"
    width: int = CONNECTIONS
    tenants: int = 100


VARIANTS: Final = (
    Variant("bare", "bare SQL, one transaction each", "bare", width=CLIENTS),
    Variant("create", "create, one process", "create"),
    Variant("two", "create, two processes", "create", house="two"),
    Variant("rival", "create, the other checkout", "create", house="rival"),
    Variant("unbatched", "create, batching off", "create", house="unbatched"),
    Variant("untraced", "create, no trace sampled", "create", house="untraced"),
    Variant("traced", "create, every trace sampled", "create", house="traced"),
    Variant("deaf", "create, collector gone", "create", house="deaf"),
    Variant("hot", "create, one hot tenant", "create", tenants=1),
    Variant("preloaded", "create, preloaded database", "create", house="preloaded"),
    Variant("replay", "replay", "replay"),
    Variant("read", "GET one payment", "read"),
    Variant("paced", "create at 50 % of capacity", "pace"),
    Variant("bare, 64 each", "bare SQL, 64 in a transaction", "bare batch", width=CLIENTS),
    Variant("idle", "create, one at a time", "create", width=1),
    Variant("bare, 1 client", "bare SQL, one client", "bare", width=1),
    Variant("empty handler", "aiohttp, empty handler", "empty", width=1),
)
NEEDS: Final = {"paced": "create"}
"""Which variant has to come before another in each round."""


@dataclass(frozen=True, slots=True)
class Seeds:
    """Payments that are there to be read and replayed, each with the API key that made it."""

    replays: list[tuple[str, str]]
    paths: list[tuple[str, str]]


async def seed(stage: Stage) -> Seeds:
    """Make the payments that are read and replayed."""
    house = stage.houses["one"]
    keys = [one.api_key for one in house.customers]
    replays = [(keys[number % len(keys)], f"seed-{number}") for number in range(_SEEDS)]
    job = Job(_address(house), replays=replays, connections=1, count=_SEEDS)
    told = await _load(job, status="201")
    return Seeds(
        replays, [(key, path) for (key, _), path in zip(replays, told["paths"], strict=True)]
    )


async def warm(house: House) -> None:
    """Pay until most pages of large indexes were written since the last checkpoint.

    The first write of a page puts all of it into the log. In the minutes between two checkpoints
    that is over within seconds, and would be all that the short turns of a bench see.
    """
    keys = [one.api_key for one in house.customers]
    await _load(Job(_address(house), keys=keys, prefix="warm", seconds=WARM_S), status="201")


async def measure(
    variant: Variant, stage: Stage, seeds: Seeds, *, seconds: float, prefix: str, capacity: float
) -> Seen:
    """Let one variant have its turn.

    Args:
        prefix: begins the idempotency keys of this turn; no two turns share one.
        capacity: payments a second that the service has just taken.
    """
    match variant.does:
        case "bare" | "bare batch":
            return await pgbench.run(
                pgbench.ONE if variant.does == "bare" else pgbench.BATCH,
                stage.postgres.owner_url(),
                server_pid=stage.postgres.server.pid,
                clients=variant.width,
                seconds=seconds,
            )
        case "empty":
            return await _ask_nothing(stage, seconds=seconds)
        case "create" | "replay" | "read" | "pace":
            house = stage.houses[variant.house]
            job = Job(
                address=_address(house),
                keys=[one.api_key for one in house.customers[: variant.tenants]],
                prefix=prefix,
                connections=variant.width,
                seconds=seconds,
                watched={
                    "server": house.pids,
                    "postgres": [stage.postgres.server.pid],
                    "redis": [stage.valkey.server.pid],
                },
            )
            return await _ask(job, variant, house, seeds, capacity=capacity)


async def _ask(job: Job, variant: Variant, house: House, seeds: Seeds, *, capacity: float) -> Seen:
    status = "200" if variant.does == "read" else "201"
    if variant.does == "replay":
        job = replace(job, replays=seeds.replays)
    elif variant.does == "read":
        job = replace(job, paths=seeds.paths)
    elif variant.does == "pace":
        job = replace(job, rate=capacity / 2)
    before = await _batches(house.services)
    told = await _load(job, status=status)
    after = await _batches(house.services)
    commits, payments = after[0] - before[0], after[1] - before[1]
    return Seen(
        rate=told["rate"],
        p50_ms=told["p50_ms"],
        p99_ms=told["p99_ms"],
        cpu_us=told["cpu_us"],
        batch=payments / commits if commits else None,
        rss_mb=max(usage.rss_bytes(pid) for pid in house.pids) / _MB,
    )


async def soak(stage: Stage, *, seconds: float, first_s: float) -> tuple[float, float]:
    """Load a fresh service for a long time: megabytes after a while, and at the end."""
    house = stage.houses[SOAK]
    keys = [one.api_key for one in house.customers]
    job = Job(_address(house), keys=keys, prefix="soak", seconds=seconds, warm_s=0.0)
    loading = asyncio.create_task(_load(job, status="201"))
    await asyncio.sleep(first_s)
    first = usage.rss_bytes(house.pids[0]) / _MB
    await loading
    return first, usage.rss_bytes(house.pids[0]) / _MB


async def _ask_nothing(stage: Stage, *, seconds: float) -> Seen:
    host, _, port = stage.empty_url.rpartition("/")[2].rpartition(":")
    job = Job((host, int(port)), paths=[("", "/")], connections=1, seconds=seconds)
    told = await _load(job, status="200")
    return Seen(told["rate"], told["p50_ms"], told["p99_ms"], {"load": told["cpu_us"]["load"]})


async def _load(job: Job, *, status: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.load",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate(json.dumps(asdict(job)).encode())
    if process.returncode != 0:
        raise SystemExit(f"bench: the load ended with {process.returncode}")
    told: dict[str, Any] = json.loads(said)
    if set(told["statuses"]) != {status}:
        raise SystemExit(f"bench: answers were not all {status}: {told['statuses']}")
    return told


async def _batches(services: Sequence[Service]) -> tuple[float, float]:
    """Commits so far, and the payments in them."""
    commits = payments = 0.0
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        for service in services:
            async with session.get(f"{service.admin_url}/metrics") as answer:
                for line in (await answer.text()).splitlines():
                    name, _, value = line.partition(" ")
                    commits += float(value) if name == f"{_BATCHES}_count" else 0
                    payments += float(value) if name == f"{_BATCHES}_sum" else 0
    return commits, payments


def _address(house: House) -> tuple[str, int]:
    host, _, port = house.services[0].api_url.rpartition("/")[2].rpartition(":")
    return host, int(port)
