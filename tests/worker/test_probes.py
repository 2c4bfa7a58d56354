"""A worker's port: alive while its jobs go on, ready while its database is there."""

import asyncio
import socket
from pathlib import Path

import aiohttp
import pytest

from fluxpay.worker.jobs import SILENCE_S_MAX, Job, Round
from fluxpay.worker.vitals import Vitals
from tests.conftest import Database
from tests.e2e.test_worker import fluxpay_worker
from tests.faults.proxy import FaultProxy
from tests.observability.exposed import page
from tests.worker import processes

PATIENCE_S = 60
JOBS = ("expiry", "sealing", "measure", "verify")


async def ask(url: str, name: str) -> tuple[int, dict[str, object]]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/health/{name}") as answer:
        assert "no-store" == answer.headers["Cache-Control"]
        assert "Server" not in answer.headers
        return answer.status, await answer.json()


async def becomes(url: str, status: int) -> dict[str, object]:
    """Wait until readiness is answered so."""
    async with asyncio.timeout(PATIENCE_S):
        while status != (found := await ask(url, "ready"))[0]:
            await asyncio.sleep(0.1)
    return found[1]


async def test_one_that_works_is_alive_and_ready(database: Database) -> None:
    async with processes.working(database) as worker:
        well = dict.fromkeys(JOBS, "ok")
        assert (200, {"status": "ok", "checks": well}) == await ask(worker.url, "live")
        checks = {**well, "start": "ok", "database": "ok"}
        assert (200, {"status": "ok", "checks": checks}) == await ask(worker.url, "ready")


async def test_one_whose_database_is_gone_is_alive_and_not_ready_until_it_is_back(
    database: Database, server_socket: Path
) -> None:
    async with FaultProxy(server_socket) as proxy:
        url = f"postgresql://fluxpay_app@{proxy.host}:{proxy.port}/{database.name}"
        async with processes.working(database, FLUXPAY_DATABASE_URL=url) as worker:
            await proxy.refuse()
            proxy.cut()
            found = await becomes(worker.url, 503)
            assert "down" == found["status"]
            assert 200 == (await ask(worker.url, "live"))[0]
            degraded = (await page(worker.url)).value("fluxpay_degraded", dependency="database")
            assert 1 == degraded
            await proxy.heal()
            await becomes(worker.url, 200)


async def idle() -> Round:
    return Round(0, has_more=False)


class Clock:
    """A clock that goes when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def vitals(clock: Clock) -> Vitals:
    vitals = Vitals(clock)
    jobs = (Job("often", "", 5.0, idle), Job("seldom", "", 60.0, idle, silence_s_max=1000.0))
    vitals.begin(jobs, ())
    return vitals


def test_a_job_that_hangs_is_down_and_the_others_are_not(vitals: Vitals, clock: Clock) -> None:
    clock.now_s += 5.0 + SILENCE_S_MAX
    assert {"often": "ok", "seldom": "ok"} == vitals.checks()
    clock.now_s += 1
    assert {"often": "down", "seldom": "ok"} == vitals.checks()
    vitals.heard("often")
    assert {"often": "ok", "seldom": "ok"} == vitals.checks()
    clock.now_s += 1060.0
    assert {"often": "down", "seldom": "down"} == vitals.checks()


def test_one_that_has_not_begun_is_alive_and_not_ready(clock: Clock) -> None:
    vitals = Vitals(clock)
    assert ({}, {"start": "down", "database": "ok"}) == (vitals.checks(), vitals.readiness())


def test_a_taken_port_is_told_in_one_line_that_names_the_setting(database: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, line = fluxpay_worker(
            FLUXPAY_DATABASE_URL=database.app_url,
            FLUXPAY_WORKER_HOST="127.0.0.1",
            FLUXPAY_WORKER_PORT=port,
        )
    assert (1, True, True) == (code, port in line, "FLUXPAY_WORKER_PORT" in line), line
