"""The bench itself, on little data: its histories are sound, its rows are like the service's."""

import asyncio
import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import aiohttp
import psycopg2
import pytest

from fluxpay.embedded.postgres import EmbeddedPostgres
from tests.bench import load, pgbench, preload, usage
from tests.conftest import Database
from tests.e2e.serving import enroll, serving

ROOT = Path(__file__).parents[2]
TABLES = ("idempotency_records", "payments", "ledger_transfers", "events")


def fluxpay(*arguments: str, database: Database) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fluxpay.cli", *arguments],
        env=os.environ | {"FLUXPAY_DATABASE_URL": database.owner_url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def rows(
    database: Database, *, of_tenant: str, tables: tuple[str, ...] = TABLES
) -> dict[str, tuple[int, float]]:
    """How many rows each table has for these tenants, and how many bytes one takes."""
    found = {}
    with closing(psycopg2.connect(database.owner_url)) as connection:
        cursor = connection.cursor()
        for table in tables:
            cursor.execute(
                f"SELECT count(*), coalesce(avg(pg_column_size(t.*)), 0) FROM {table} t "
                f"WHERE tenant_id LIKE '{of_tenant}%'"
            )
            row = cursor.fetchone()
            assert row is not None
            found[table] = (int(row[0]), float(row[1]))
    return found


async def test_a_preloaded_history_is_as_sound_as_one_that_was_paid(
    database: Database, redis_url: str
) -> None:
    async with serving(database, redis_url) as service:
        tenants = [(await enroll(service)).tenant_id for _ in range(3)]
    told: list[str] = []
    await asyncio.to_thread(preload.fill, database.owner_url, tenants, 301, tell=told.append)
    ((sealed, _),) = rows(database, of_tenant="ten_", tables=("sealed_transfers",)).values()
    assert 301 == sealed
    verified = fluxpay("verify", database=database)
    assert (0, "books are sound: 3 tenants, 301 payments, 301 transfers") == (
        verified.returncode,
        verified.stdout.splitlines()[-1],
    )


@pytest.mark.parametrize("script", [pgbench.ONE, pgbench.BATCH], ids=["one", "batch"])
async def test_pgbench_writes_the_rows_that_a_payment_commits(
    database: Database, postgres: EmbeddedPostgres, redis_url: str, script: pgbench.Script
) -> None:
    async with serving(database, redis_url) as service:
        customer = await enroll(service)
        async with aiohttp.ClientSession(headers=customer.headers) as session:
            headers = {
                "Idempotency-Key": "0123456789abcdef-abc",
                "Content-Type": "application/json",
            }
            url = f"{service.api_url}/v1/payments"
            async with session.post(url, data=load.BODY, headers=headers) as answer:
                assert 201 == answer.status
    seen = await pgbench.run(
        script, database.owner_url, server_pid=postgres.server.pid, clients=2, seconds=1
    )
    assert 0 < seen.rate
    ours = rows(database, of_tenant=customer.tenant_id)
    bare = rows(database, of_tenant=customer.tenant_id[:4] + "01m82vg9s4ezka7k9xavmd")
    assert dict.fromkeys(TABLES, 1) == {table: count for table, (count, _) in ours.items()}
    assert 1 == len({count for count, _ in bare.values()})
    for table in TABLES:
        assert pytest.approx(ours[table][1], rel=0.03) == bare[table][1], table


def test_the_cpu_time_of_a_child_that_ended_is_counted() -> None:
    before_s = usage.cpu_s([os.getpid()])
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    assert 0.25 < usage.cpu_s([os.getpid()]) - before_s


def test_the_bench_runs_from_end_to_end(tmp_path: Path) -> None:
    wanted = "bare; create; two; preloaded; replay; read; paced; bare, 64 each; idle"
    options = ["--only", wanted, "--rounds", "1", "--seconds", "0.5", "--preload", "200"]
    told = subprocess.run(
        [sys.executable, "-m", "tests.bench.run", *options, "--soak", "1"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == told.returncode, told.stderr
    result = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert {name.strip() for name in wanted.split(";")} == set(result["medians"])
    used = result["medians"]["create"]["cpu_us"]
    assert {"server", "postgres", "redis", "load"} == {name for name, us in used.items() if us > 0}
    assert (tmp_path / "bench.svg").read_text(encoding="utf-8").endswith("</svg>\n")
