"""The probes: what they say, and that they cost the dependencies little."""

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from fluxpay.core.problems import Code
from fluxpay.embedded.postgres import SOCKET, EmbeddedPostgres
from fluxpay.web.context import Drain
from fluxpay.web.health import Health
from tests.conftest import Database, Lines
from tests.faults.proxy import FaultProxy
from tests.web.conftest import Launch
from tests.web.service import Service
from tests.web.test_chain import assert_problem

if TYPE_CHECKING:
    from fluxpay.web.world import World

ALL_OK = {"database": "ok", "redis": "ok", "schema": "ok"}


async def test_a_live_process_says_so_without_a_key(service: Service) -> None:
    for port in (service.call, service.admin):
        answer = await port("GET", "/health/live", headers={"Authorization": "none"})
        assert (200, {"status": "ok"}) == (answer.status, answer.document)


async def test_a_ready_process_names_its_checks(service: Service) -> None:
    for port in (service.call, service.admin):
        answer = await port("GET", "/health/ready", headers={"Authorization": "none"})
        assert (200, {"status": "ok", "checks": ALL_OK}) == (answer.status, answer.document)


async def test_without_redis_the_process_is_not_ready_unless_told_that_it_does_not_matter(
    launch: Launch,
) -> None:
    service = await launch(redis_url="redis://127.0.0.1:1/0", redis_timeout_ms=50)
    checks = ALL_OK | {"redis": "unavailable"}
    answer = await service.call("GET", "/health/ready")
    assert (503, {"status": "unavailable", "checks": checks}) == (answer.status, answer.document)
    assert "1" == answer.headers["Retry-After"]
    for query in ["require=database,schema", "require=schema&require=database"]:
        answer = await service.call("GET", f"/health/ready?{query}")
        assert (200, {"status": "ok", "checks": checks}) == (answer.status, answer.document)
    assert 503 == (await service.call("GET", "/health/ready?require=redis")).status
    # And payments are made all the same.
    assert 201 == (await service.pay()).status


async def test_a_database_that_does_not_answer_leaves_no_doubt_about_redis(
    database: Database, postgres: EmbeddedPostgres, launch: Launch, lines: Lines
) -> None:
    async with FaultProxy(postgres.sockets / SOCKET) as proxy:
        url = f"postgresql://fluxpay_app@{proxy.host}:{proxy.port}/{database.name}"
        service = await launch(database_url=url)
        proxy.blackhole()
        answer = await service.call("GET", "/health/ready")
        checks = {"database": "unavailable", "redis": "ok", "schema": "unavailable"}
        expected = (503, {"status": "unavailable", "checks": checks})
        assert expected == (answer.status, answer.document)
        assert 200 == (await service.call("GET", "/health/ready?require=redis")).status
        await proxy.heal()
    assert "dependencies_unanswered" in {line["event"] for line in lines()}


@pytest.mark.parametrize("query", ["require=", "require=disk", "require=database,%00"])
async def test_an_unknown_check_is_refused(service: Service, query: str) -> None:
    answer = await service.call("GET", f"/health/ready?{query}")
    assert_problem(Code.INVALID_PARAMETER, answer, instance="/health/ready")
    assert ["#/require"] == [error["pointer"] for error in answer.document["errors"]]


class CountingWorld:
    """A world that only counts how often it is asked for its health."""

    def __init__(self, *, answer: dict[str, bool] | Exception) -> None:
        self.answer = answer
        self.asked = 0

    async def check(self, *, timeout_s: float) -> dict[str, bool]:
        assert timeout_s > 0
        self.asked += 1
        await asyncio.sleep(0.01)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_a_storm_of_probes_asks_the_dependencies_once() -> None:
    world = CountingWorld(answer=dict.fromkeys(ALL_OK, True))
    health = Health(cast("World", world), Drain())
    found = await asyncio.gather(*(health._checks() for _ in range(500)))
    await health._checks()
    assert 1 == world.asked
    assert all(dict.fromkeys(ALL_OK, True) == one for one in found)


async def test_a_probe_that_gives_up_takes_the_answer_from_nobody() -> None:
    world = CountingWorld(answer=dict.fromkeys(ALL_OK, True))
    health = Health(cast("World", world), Drain())
    first, second = [asyncio.create_task(health._checks()) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    assert dict.fromkeys(ALL_OK, True) == await second


async def test_what_cannot_be_asked_does_not_serve() -> None:
    world = CountingWorld(answer=RuntimeError("broken"))
    assert dict.fromkeys(ALL_OK, False) == await Health(cast("World", world), Drain())._checks()
