"""Pools on the database of a test, and the way to its server that a proxy can break."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fluxpay.embedded.postgres import SOCKET, EmbeddedPostgres
from fluxpay.stores.connection import SessionLimits
from fluxpay.stores.database import Database as Service
from fluxpay.stores.pool import Pool
from tests.conftest import Database


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    """Eight sessions as the service's role."""
    pool = Service(database.app_url, limits=SessionLimits()).pool(max_size=8)
    yield pool
    await pool.close()


@pytest.fixture
async def other_pool(database: Database) -> AsyncIterator[Pool]:
    """The sessions of a second worker."""
    pool = Service(database.app_url, limits=SessionLimits()).pool(max_size=8)
    yield pool
    await pool.close()


@pytest.fixture
def server_socket(postgres: EmbeddedPostgres) -> Path:
    """Where the server listens: what a FaultProxy forwards to."""
    return postgres.sockets / SOCKET
