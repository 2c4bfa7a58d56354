"""Every test of this folder runs on both event loops; all share one plain database."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import uvloop

from fluxpay.embedded.postgres import SOCKET, EmbeddedPostgres

DATABASE = "faults"


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def server_socket(postgres: EmbeddedPostgres) -> Path:
    """Where the server listens: what a FaultProxy forwards to."""
    return postgres.sockets / SOCKET


@pytest.fixture(scope="session")
def _faults_database(postgres: EmbeddedPostgres) -> str:
    _as_owner(postgres.owner_url("postgres"), f"CREATE DATABASE {DATABASE}")
    return postgres.owner_url(DATABASE)


@pytest.fixture
def url(_faults_database: str) -> str:
    """The owner's URL of a database with one empty table, `notes`."""
    _as_owner(
        _faults_database,
        "DROP TABLE IF EXISTS notes; CREATE TABLE notes (id int PRIMARY KEY, body text)",
    )
    return _faults_database


def _as_owner(url: str, statement: str) -> None:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
