"""The real servers that tests stand on: one of each a run, a fresh database a test.

And how Hypothesis tries examples, in all of them.
"""

import json
import logging
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
import pytest
import redis
from hypothesis import HealthCheck, settings

from fluxpay.embedded.postgres import EmbeddedPostgres
from fluxpay.embedded.valkey import EmbeddedValkey
from fluxpay.observability import logs

TEMPLATE = "fluxpay_template"
PATIENCE_S = 10.0
ASYNCIOS = re.compile(r"(waitpid-|asyncio_)\d+$")
Lines = Callable[[], list[dict[str, Any]]]

# A shared machine stalls now and then: an example may take as long as it likes, and what bounds a
# run is the number of examples. The blob repeats a failure found on another machine.
settings.register_profile(
    "fluxpay",
    deadline=None,
    max_examples=100,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fluxpay")


@dataclass(frozen=True, slots=True)
class Database:
    """A migrated database that this test has to itself."""

    owner_url: str
    app_url: str
    name: str


@pytest.fixture(scope="module", autouse=True)
def _no_thread_outlives_its_file() -> Iterator[None]:
    """A thread that runs on disturbs the tests of other files: their logs, counters and chance."""
    before = set(threading.enumerate())
    yield
    # asyncio keeps threads for children and executors, and some servers serve many files.
    begun = [one for one in set(threading.enumerate()) - before if not ASYNCIOS.match(one.name)]
    for thread in begun:
        thread.join(PATIENCE_S)
    assert [] == [thread.name for thread in begun if thread.is_alive()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What our own loggers have written since the test began, each line as its members."""
    kept = Kept()
    root = logging.getLogger()
    before = root.level
    root.addHandler(kept)
    root.setLevel(logging.DEBUG)
    yield lambda: [json.loads(line) for line in kept.written if '"logger": "fluxpay' in line]
    root.setLevel(before)
    root.removeHandler(kept)


class Kept(logging.Handler):
    """Keeps lines as the pipeline writes them."""

    def __init__(self, style: str = "json") -> None:
        super().__init__()
        self.setFormatter(logs.formatter(style))
        self.written: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append(self.format(record))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A running Postgres, whose databases tests share unless they ask for their own."""
    server = EmbeddedPostgres.start(tmp_path_factory.mktemp("postgres"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A running Valkey; `redis_url` hands it out empty."""
    server = EmbeddedValkey.start(tmp_path_factory.mktemp("valkey"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """The name of a migrated database, copied for each test: copying is faster than migrating."""
    from fluxpay.stores.migrations import migrate  # noqa: PLC0415 - only these tests need it

    _as_owner(postgres, f"CREATE DATABASE {TEMPLATE}")
    migrate(postgres.owner_url(TEMPLATE), report=lambda _: None)
    return TEMPLATE


@pytest.fixture
def database(postgres: EmbeddedPostgres, template: str) -> Iterator[Database]:
    """A migrated database for one test alone."""
    with fresh_database(postgres, template) as fresh:
        yield fresh


@contextmanager
def fresh_database(postgres: EmbeddedPostgres, template: str) -> Iterator[Database]:
    """A migrated database for the length of a block."""
    name = f"test_{uuid.uuid4().hex}"
    _as_owner(postgres, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield Database(owner_url=postgres.owner_url(name), app_url=postgres.app_url(name), name=name)
    # Whatever the test left connected is cut off.
    _as_owner(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def redis_url(valkey: EmbeddedValkey) -> str:
    """The URL of an empty Valkey."""
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
        client.script_flush()
    return valkey.url


def _as_owner(postgres: EmbeddedPostgres, statement: str) -> None:
    with closing(psycopg2.connect(postgres.owner_url("postgres"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
