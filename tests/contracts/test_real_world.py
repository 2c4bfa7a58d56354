"""Postgres and Redis obey the contract that the simulation was proved on."""

from collections.abc import AsyncIterator

import pytest

from fluxpay.settings import Settings
from fluxpay.web.world import World
from tests.conftest import Database
from tests.contracts.contract import EVERY_LAW
from tests.contracts.law import Law


@pytest.fixture
async def world(database: Database, redis_url: str) -> AsyncIterator[World]:
    """The world that the service itself runs on, with a database of its own."""
    opened = await World.open(Settings(database_url=database.app_url, redis_url=redis_url))
    yield opened
    await opened.close()


@EVERY_LAW
async def test_the_real_world_obeys(law: Law, world: World) -> None:
    await law(world)
