"""`make bench`: FluxPay over HTTP against the bare database, on the same machine in the same run.

Starts its own Postgres (fsync on) and Valkey, and one service process a variant. All variants take
turns, several rounds; a row is the median of the rounds, and what counts are the ratios. The
machine's speed drifts and its neighbours are noisy: a single number means nothing.

    python -m tests.bench.run [--rounds 3] [--seconds 4]      prints a table, writes bench.json
"""

import argparse
import asyncio
import json
import re
import statistics
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from fluxpay.embedded.places import postgres_program
from fluxpay.embedded.postgres import EmbeddedPostgres
from fluxpay.embedded.valkey import EmbeddedValkey
from fluxpay.stores.migrations import migrate
from tests.bench import balances
from tests.conftest import Database
from tests.e2e.serving import Customer, Service, enroll, serving

HERE: Final = Path(__file__).parent
CONNECTIONS: Final = 64
REPLAYED_KEYS: Final = 500
VARIANTS: Final = ("bare SQL", "create", "create, batch of 1", "replay")
RATIOS: Final = (
    ("create", "bare SQL"),
    ("create", "create, batch of 1"),
    ("replay", "create"),
)


async def pay(
    service: Service, customer: Customer, *, seconds: float, prefix: str, repeated: int | None
) -> float:
    """Payments a second over HTTP; anything but a 201 ends the bench."""
    said = await _output(
        sys.executable,
        str(HERE / "load.py"),
        service.api_url,
        customer.api_key,
        str(CONNECTIONS),
        str(seconds),
        prefix,
        *(() if repeated is None else (str(repeated),)),
    )
    seen: dict[str, Any] = json.loads(said)
    if set(seen["statuses"]) != {"201"}:
        raise SystemExit(f"bench: the service answered {seen['statuses']}")
    return float(seen["payments_per_s"])


async def bare(postgres: EmbeddedPostgres, *, seconds: float) -> float:
    """Payments a second by pgbench: prepared statements, 32 clients, one transaction each."""
    script = str(HERE / "same_rows.sql")
    options = ("-n", "-M", "prepared", "-c", "32", "-j", "2", "-T", str(round(seconds)))
    said = await _output(
        str(postgres_program("pgbench")), *options, "-f", script, postgres.owner_url()
    )
    found = re.search(r"tps = ([0-9.]+)", said)
    if found is None:
        raise SystemExit(f"bench: pgbench said {said}")
    return float(found[1])


async def _output(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"bench: {command[0]} ended with {process.returncode}")
    return said.decode()


async def bench(
    directory: Path, *, rounds: int, seconds: float
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Let every variant have its turn in every round, then time balances."""
    postgres = EmbeddedPostgres.start(directory / "postgres")
    valkey = EmbeddedValkey.start(directory / "valkey")
    try:
        migrate(postgres.owner_url(), report=lambda _: None)
        database = Database(postgres.owner_url(), postgres.app_url(), "fluxpay")
        async with AsyncExitStack() as stack:
            grouped = await stack.enter_async_context(serving(database, valkey.url))
            alone = await stack.enter_async_context(
                serving(database, valkey.url, FLUXPAY_COMMIT_BATCH_MAX="1")
            )
            customer = await enroll(grouped, requests_a_minute=10_000_000)
            seen: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
            for number in range(rounds):
                for variant in VARIANTS:
                    print(f"round {number + 1} of {rounds}: {variant}", file=sys.stderr)
                    if variant == "bare SQL":
                        rate = await bare(postgres, seconds=seconds)
                    else:
                        is_alone, is_replay = variant.endswith("1"), variant == "replay"
                        rate = await pay(
                            alone if is_alone else grouped,
                            customer,
                            seconds=seconds,
                            # The replays repeat what the grouped service has just created.
                            prefix=f"{'alone' if is_alone else 'grouped'}-{number}",
                            repeated=REPLAYED_KEYS if is_replay else None,
                        )
                    seen[variant].append(rate)
            return seen, await time_balances(postgres, grouped)
    finally:
        valkey.stop()
        postgres.stop()


async def time_balances(postgres: EmbeddedPostgres, service: Service) -> dict[str, float]:
    """Median seconds of a balance on a short and on a long history."""
    customers: dict[str, Customer] = {}
    for name, entries in balances.ENTRIES.items():
        print(f"balances: writing a history of {entries} entries", file=sys.stderr)
        customers[name] = await enroll(service, requests_a_minute=10_000_000)
        await asyncio.to_thread(
            balances.fill, postgres.owner_url(), customers[name], entries=entries
        )
    print("balances: reading", file=sys.stderr)
    return await balances.measure(service, customers)


def main() -> None:
    """Run the bench and print the table."""
    parser = argparse.ArgumentParser(description="FluxPay against the bare database")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fluxpay-bench-") as directory:
        seen, latencies_s = asyncio.run(
            bench(Path(directory), rounds=options.rounds, seconds=options.seconds)
        )
    medians = {variant: statistics.median(rates) for variant, rates in seen.items()}
    ratios = {f"{one} / {other}": medians[one] / medians[other] for one, other in RATIOS}
    for when in ("now", "past"):
        ratio = latencies_s[f"{when}, long"] / latencies_s[f"{when}, short"]
        ratios[f"balance {when}, 1M entries / 1k"] = ratio
    for name, ratio in ratios.items():
        print(f"{name:<36}{ratio:8.2f}")
    result = {
        "ratios": ratios,
        "payments_per_s": medians,
        "rounds": seen,
        "balance_s": latencies_s,
    }
    Path("bench.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
