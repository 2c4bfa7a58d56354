"""Postgres and Redis obey the contract that the simulation was proved on."""

from collections.abc import AsyncIterator
from contextlib import closing

import psycopg2
import pytest

from fluxpay.core.payment_creation import Posting
from fluxpay.settings import Settings
from fluxpay.web.world import World
from tests.conftest import Database
from tests.contracts.contract import EVERY_LAW
from tests.contracts.law import Law
from tests.contracts.posting import a_claim_whose_record_is_gone_still_names_its_payment


@pytest.fixture
async def world(database: Database, redis_url: str) -> AsyncIterator[World]:
    """The world that the service itself runs on, with a database of its own."""
    opened = await World.open(Settings(database_url=database.app_url, redis_url=redis_url))
    yield opened
    await opened.close()


@EVERY_LAW
async def test_the_real_world_obeys(law: Law, world: World) -> None:
    await law(world)


async def test_a_claim_whose_record_is_gone_still_names_its_payment(
    world: World, database: Database
) -> None:
    def forget(posting: Posting) -> None:
        with closing(psycopg2.connect(database.owner_url)) as owner, owner, owner.cursor() as sql:
            sql.execute(
                "DELETE FROM idempotency_records WHERE idempotency_key = %s", (posting.claim.key,)
            )
            assert 1 == sql.rowcount

    await a_claim_whose_record_is_gone_still_names_its_payment(world, forget)
