"""`fluxpay worker` as its operator sees it, and the one that runs inside `fluxpay dev`."""

import asyncio
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import aiohttp
import psycopg2
import pytest

from tests.conftest import Database
from tests.e2e.dev import await_ready, command, environment
from tests.e2e.serving import enroll, serving
from tests.observability.exposed import SERVICE, WORKER_ALONE, page
from tests.worker import processes

SECRET = "hunter2"
UNREACHABLE = f"postgresql://app:{SECRET}@127.0.0.1:1/fluxpay"
AUTHORIZATION = {"amount": 1250, "currency": "EUR", "capture": "manual"}


def fluxpay_worker(**variables: str) -> tuple[int, str]:
    """Run a worker that cannot start: its exit code and its one line."""
    done = subprocess.run(
        [sys.executable, "-m", "fluxpay.cli", "worker"],
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    (line,) = done.stderr.splitlines()
    assert ("", False) == (done.stdout, SECRET in line)
    return done.returncode, line


def move_expiry(owner_url: str, payment_id: str, by: str) -> None:
    with closing(psycopg2.connect(owner_url)) as connection, connection, connection.cursor() as it:
        it.execute(
            "UPDATE payments SET expires_at = now() + %s::interval WHERE id = %s", (by, payment_id)
        )


async def authorize(session: aiohttp.ClientSession, api_url: str, key: str) -> str:
    headers = {"Idempotency-Key": key}
    async with session.post(f"{api_url}/v1/payments", json=AUTHORIZATION, headers=headers) as made:
        assert 201 == made.status
        return str((await made.json())["id"])


async def status(session: aiohttp.ClientSession, api_url: str, payment_id: str) -> str:
    async with session.get(f"{api_url}/v1/payments/{payment_id}") as shown:
        return str((await shown.json())["status"])


async def await_expired(session: aiohttp.ClientSession, api_url: str, payment_id: str) -> None:
    async with asyncio.timeout(60):
        while "expired" != await status(session, api_url, payment_id):
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/Los_Angeles"])
async def test_an_authorization_of_the_api_expires_when_its_time_is_over(
    database: Database, redis_url: str, zone: str
) -> None:
    async with serving(database, redis_url) as service:
        customer = await enroll(service)
        async with aiohttp.ClientSession(headers=customer.headers) as session:
            due = await authorize(session, service.api_url, "due")
            not_due = await authorize(session, service.api_url, "not-due")
            move_expiry(database.owner_url, due, "-1 second")
            # Less than any zone's distance from UTC: a worker by local time would get one wrong.
            move_expiry(database.owner_url, not_due, "1 hour")
            async with processes.working(database, TZ=zone) as worker:
                await await_expired(session, service.api_url, due)
                assert "authorized" == await status(session, service.api_url, not_due)
                assert 0 == await processes.stop(worker)


async def test_the_worker_of_dev_lets_an_authorization_expire(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            command(tmp_path / "dev"),
            env=environment(FLUXPAY_LOG_LEVEL="INFO"),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        dev = await_ready(process, tmp_path / "dev", output)
        headers = {"Authorization": f"Bearer {dev.ready['api_key']}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            # One process has one page of metrics.
            found = await page(dev.ready["admin_url"])
            assert set() == (SERVICE | WORKER_ALONE) - set(found.families)
            due = await authorize(session, dev.ready["api_url"], "due")
            move_expiry(dev.ready["owner_database_url"], due, "-1 second")
            await await_expired(session, dev.ready["api_url"], due)
    finally:
        process.terminate()
    assert 0 == process.wait(timeout=60)
    told = output.read_text()
    assert '"job": "expiry", "did": "expired authorizations", "count": 1}' in told


def test_dev_says_so_and_stops_when_its_worker_dies(tmp_path: Path) -> None:
    arguments = json.dumps(command(tmp_path / "dev")[3:])
    program = f"""
import fluxpay.cli, fluxpay.dev, json, sys

async def work(settings, *, stop, metrics):
    raise KeyError("a bug")

fluxpay.dev.work = work
sys.exit(fluxpay.cli.main(json.loads({arguments!r})))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert 1 == done.returncode
    assert "The worker has died; stopping" in done.stdout.splitlines()
    last = json.loads(done.stderr.splitlines()[-1])
    assert ("process_failed", "KeyError") == (last["event"], last["exception"].splitlines()[-1])
    last_words = (tmp_path / "dev" / "postgres.log").read_text().splitlines()[-1]
    assert "database system is shut down" in last_words


async def test_an_idle_worker_ends_at_once_when_it_is_told_to(database: Database) -> None:
    async with processes.working(database) as worker:
        assert 0 == await processes.stop(worker)


def test_a_worker_without_a_database_url_says_which_variable_it_wants() -> None:
    expected = "fluxpay: FLUXPAY_DATABASE_URL is not set; set it to a postgresql:// URL"
    code, line = fluxpay_worker()
    assert (2, True) == (code, line.startswith(expected)), line


def test_a_worker_that_cannot_reach_its_database_says_so_and_fails() -> None:
    code, line = fluxpay_worker(FLUXPAY_DATABASE_URL=UNREACHABLE)
    assert (1, True) == (code, "check FLUXPAY_DATABASE_URL" in line), line


def test_a_worker_on_a_schema_that_is_behind_says_what_to_run(database: Database) -> None:
    with (
        closing(psycopg2.connect(database.owner_url)) as connection,
        connection,
        connection.cursor() as it,
    ):
        it.execute("DELETE FROM schema_migrations WHERE name LIKE '0007%'")
    code, line = fluxpay_worker(FLUXPAY_DATABASE_URL=database.app_url)
    assert (3, True) == (code, line.endswith("; run: fluxpay migrate")), line
