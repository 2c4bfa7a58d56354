"""Pools on the database of a test, as the service opens them."""

from collections.abc import AsyncIterator

import pytest

from fluxpay.stores.connection import SessionLimits
from fluxpay.stores.database import Database as Service
from fluxpay.stores.pool import Pool
from tests.conftest import Database


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    """Eight sessions as the service's role, under the service's limits."""
    pool = Service(database.app_url, limits=SessionLimits()).pool(max_size=8)
    yield pool
    await pool.close()


@pytest.fixture
async def other_pool(database: Database) -> AsyncIterator[Pool]:
    """Eight more: the sessions of another process."""
    pool = Service(database.app_url, limits=SessionLimits()).pool(max_size=8)
    yield pool
    await pool.close()
