"""`make bench`: FluxPay over HTTP against the bare database, on the same machine in the same run.

All variants take turns, several rounds; a number is the median of its rounds, and what counts are
the ratios. The machine's speed drifts and its neighbours are noisy: a single number means nothing.
Prints tables, writes `bench.json`, and draws `bench.svg`. How to read it all, and what each variant
is: docs/explanation/performance.md.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.bench import balances, drawing, measures, table, variants
from tests.bench.measures import Seen, Soak
from tests.bench.stage import BALANCES, SOAK, TENANTS, Stage, Wish, staged
from tests.bench.variants import VARIANTS, Variant
from tests.e2e.serving import Customer, enroll

NAMES: Final = (*(one.name for one in VARIANTS), BALANCES)
_FIRST_MINUTE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What the command line asks for."""

    chosen: tuple[Variant, ...]
    rounds: int
    seconds: float
    preload: int
    soak_s: float
    times_balances: bool
    against: Path | None


@dataclass(frozen=True, slots=True)
class Result:
    """All that was measured."""

    rounds: dict[str, list[Seen]]
    soak: Soak | None
    balances_s: dict[str, float] | None


def tell(text: str) -> None:
    """Show progress."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


async def bench(directory: Path, plan: Plan) -> Result:
    """Let every variant have its turn in every round, then do what is done once."""
    houses = {one.house for one in plan.chosen}
    houses |= {BALANCES} if plan.times_balances else set()
    houses |= {SOAK} if plan.soak_s else set()
    wish = Wish(frozenset(houses), plan.preload, plan.against)
    async with staged(directory, wish, tell=tell) as stage:
        seeds = await variants.seed(stage)
        if "preloaded" in stage.houses:
            tell(f"preloaded: paying for {variants.WARM_S:.0f} s, which are not measured")
            await variants.warm(stage.houses["preloaded"])
        seen: dict[str, list[Seen]] = {one.name: [] for one in plan.chosen}
        for number in range(1, plan.rounds + 1):
            for one in plan.chosen:
                created = seen.get("create")
                found = await variants.measure(
                    one,
                    stage,
                    seeds,
                    seconds=plan.seconds,
                    prefix=f"{one.name.replace(', ', '-')}-{number}",
                    capacity=created[-1].rate if created else 0.0,
                )
                seen[one.name].append(found)
                tell(f"round {number} of {plan.rounds}: {one.title}: {found.rate:,.0f} a second")
        return Result(
            seen,
            await soaked(stage, plan.soak_s) if plan.soak_s else None,
            await timed_balances(stage) if plan.times_balances else None,
        )


async def soaked(stage: Stage, seconds: float) -> Soak:
    """Watch the memory of the service at capacity."""
    tell(f"soaking for {seconds:.0f} s")
    first_s = min(_FIRST_MINUTE_S, seconds / 2)
    first_mb, end_mb = await variants.soak(stage, seconds=seconds, first_s=first_s)
    return Soak(seconds / 60, first_mb, end_mb)


async def timed_balances(stage: Stage) -> dict[str, float]:
    """Median seconds of a balance on a short and on a long history."""
    customers: dict[str, Customer] = {}
    (service,) = stage.houses[BALANCES].services
    for name, entries in balances.ENTRIES.items():
        tell(f"balances: writing a history of {entries:,} entries")
        customers[name] = await enroll(service)
        url = stage.postgres.owner_url(BALANCES)
        await asyncio.to_thread(balances.fill, url, customers[name], entries=entries)
    tell("balances: reading")
    return await balances.measure(service, customers)


def options() -> argparse.ArgumentParser:
    """What the command line understands."""
    parser = argparse.ArgumentParser(
        prog="make bench", description="FluxPay against the bare database, in ratios of one run."
    )
    parser.add_argument("--only", metavar="NAMES", help=f"some of: {'; '.join(NAMES)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of each variant in each round")
    parser.add_argument("--preload", type=int, default=5_000_000, help="payments; 0 is none")
    parser.add_argument("--soak", type=float, default=0, help="seconds at capacity, at the end")
    parser.add_argument("--against", type=Path, help="another checkout, set up: measured as rival")
    return parser


def plan_of(arguments: Sequence[str] | None = None) -> Plan:
    """Read the command line."""
    parser = options()
    given = parser.parse_args(arguments)
    wanted = set(NAMES)
    if given.only is not None:
        wanted = {name.strip() for name in given.only.split(";")}
        if unknown := wanted - set(NAMES):
            parser.error(f"there is no variant {', '.join(sorted(unknown))}")
        wanted |= {before for name, before in variants.NEEDS.items() if name in wanted}
    wanted -= set() if given.preload else {"preloaded"}
    wanted |= {"rival"} if given.against else set()
    wanted -= set() if given.against else {"rival"}
    return Plan(
        chosen=tuple(one for one in VARIANTS if one.name in wanted),
        rounds=given.rounds,
        seconds=given.seconds,
        preload=given.preload,
        soak_s=given.soak,
        times_balances=BALANCES in wanted,
        against=given.against,
    )


def report(plan: Plan, result: Result, *, directory: Path) -> None:
    """Print the tables, and write `bench.json` and `bench.svg`."""
    medians = {name: measures.median(seen) for name, seen in result.rounds.items()}
    verdicts = measures.verdicts(medians, result.soak)
    titles = {one.name: one.title for one in VARIANTS}
    print(table.measured(titles, medians), end="\n\n")
    print(table.judged(verdicts))
    if "rival" in medians and "create" in medians:
        ratio = medians["create"].rate / medians["rival"].rate
        print(f"\nthis checkout ÷ the other: {ratio:.3f}")
    if (soak := result.soak) is not None:
        told = f"{soak.end_mb:.0f} MB, {soak.growth_percent:+.1f} % since the first minute"
        print(f"\nmemory after {soak.minutes:.1f} minutes: {told}")
    balance_ratios = {}
    if (seen_s := result.balances_s) is not None:
        for when in ("now", "past"):
            ratio = seen_s[f"{when}, long"] / seen_s[f"{when}, short"]
            balance_ratios[when] = ratio
            print(f"balance {when}, 1,000,000 entries ÷ 1,000: {ratio:.2f}")
    written = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "preloaded_payments": plan.preload,
        "bars": [asdict(one) for one in verdicts],
        "medians": {name: asdict(one) for name, one in medians.items()},
        "seen": {name: [asdict(one) for one in seen] for name, seen in result.rounds.items()},
        "soak": None if result.soak is None else asdict(result.soak),
        "balance_s": result.balances_s,
        "balance_ratios": balance_ratios,
    }
    (directory / "bench.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    note = " · ".join(
        (
            time.strftime("%-d %B %Y", time.gmtime()),
            f"{os.cpu_count()} processors for all of it",
            f"{variants.CONNECTIONS} connections, {TENANTS} tenants",
            f"medians of {plan.rounds} rounds",
        )
    )
    picture = drawing.draw(titles, medians, verdicts, note=note)
    (directory / "bench.svg").write_text(picture, encoding="utf-8")


def main() -> None:
    """Run the bench."""
    plan = plan_of()
    with tempfile.TemporaryDirectory(prefix="fluxpay-bench-") as directory:
        result = asyncio.run(bench(Path(directory), plan))
    report(plan, result, directory=Path.cwd())


if __name__ == "__main__":
    main()
