"""`fluxpay health` beside a service process, as a container's health check runs it."""

import os
import socket
import subprocess
import sys
import threading
from contextlib import closing
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg2
import pytest

from fluxpay.embedded.postgres import EmbeddedPostgres
from tests.conftest import Database
from tests.e2e.serving import Service, serving
from tests.web.certificates import write_certificate

NOWHERE = "redis://127.0.0.1:1/0"


def health(**variables: str) -> tuple[int, str, str]:
    """Run the command: its exit code, and what it wrote to stdout and stderr."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("FLUXPAY_")}
    done = subprocess.run(
        [sys.executable, "-m", "fluxpay.cli", "health"],
        env={**clean, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def port_of(service: Service) -> str:
    return service.api_url.rpartition(":")[2]


@pytest.mark.parametrize("host", [{}, {"FLUXPAY_HOST": "0.0.0.0"}])  # noqa: S104 - it is only asked
async def test_a_service_that_serves_is_ready_without_its_redis(
    host: dict[str, str], database: Database
) -> None:
    async with serving(database, NOWHERE) as service:
        assert (0, "ready\n", "") == health(FLUXPAY_PORT=port_of(service), **host)


async def test_a_service_with_tls_is_asked_over_tls(database: Database, tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path, address="192.0.2.1")
    files = {"FLUXPAY_TLS_CERT_FILE": str(cert), "FLUXPAY_TLS_KEY_FILE": str(key)}
    async with serving(database, NOWHERE, **files) as service:
        assert (0, "ready\n", "") == health(FLUXPAY_PORT=port_of(service), **files)
        code, _, told = health(FLUXPAY_PORT=port_of(service))
    assert (1, True) == (code, "does not answer" in told), told


async def test_a_service_without_its_database_is_not_ready(
    database: Database, postgres: EmbeddedPostgres
) -> None:
    async with serving(database, NOWHERE) as service:
        with closing(psycopg2.connect(postgres.owner_url("postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                    (database.name,),
                )
        told = health(FLUXPAY_PORT=port_of(service))
    expected = (
        f"fluxpay: {service.api_url} is unavailable: database, redis, schema; "
        "see the log of: fluxpay serve\n"
    )
    assert (1, "", expected) == told


def test_where_nothing_listens_one_line_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    expected = (
        f"fluxpay: http://127.0.0.1:{port} does not answer (ConnectionRefusedError); "
        "see the log of: fluxpay serve\n"
    )
    assert (1, "", expected) == health(FLUXPAY_PORT=port)


def test_a_port_that_nobody_knows_is_a_usage_error() -> None:
    expected = "fluxpay: FLUXPAY_PORT is 0, so nobody knows the port; set a fixed one\n"
    assert (2, "", expected) == health(FLUXPAY_PORT="0")


def test_an_address_of_version_6_is_put_in_brackets() -> None:
    told = health(FLUXPAY_HOST="::", FLUXPAY_PORT="1")
    expected = "fluxpay: http://[::1]:1 does not answer"
    assert (1, "", expected) == (told[0], told[1], told[2][: len(expected)])


def test_somebody_else_on_the_port_is_not_taken_for_the_service() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as stranger:
        threading.Thread(target=stranger.serve_forever).start()
        told = health(FLUXPAY_PORT=str(stranger.server_port))
        stranger.shutdown()
    expected = f"http://127.0.0.1:{stranger.server_port} is no FluxPay"
    assert (1, "", True) == (told[0], told[1], expected in told[2]), told
