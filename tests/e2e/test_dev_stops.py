"""`fluxpay dev` told to stop before it is ready."""

import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from tests.conftest import Database
from tests.e2e.dev import READY_TIMEOUT_S, command, environment, rows
from tests.embedded.processes import await_nobody_below
from tests.ports import free_port


def await_true(is_true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while not is_true():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def is_closed(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("after_s", [0.2, 0.8, 1.4])
def test_a_stop_while_it_still_starts_is_clean_too(tmp_path: Path, after_s: float) -> None:
    process = subprocess.Popen(
        command(tmp_path / "dev"),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    await_true((tmp_path / "dev" / "lock").exists)
    time.sleep(after_s)
    process.terminate()
    _, error = process.communicate(timeout=60)
    assert (0, b"") == (process.returncode, error)
    assert [] == await_nobody_below(tmp_path)


def test_a_stop_while_the_demo_tenant_is_made_is_clean_too(
    tmp_path: Path, database: Database
) -> None:
    admin_port = free_port()
    with closing(psycopg2.connect(database.owner_url)) as connection:
        # Until this is undone, nobody makes a tenant.
        connection.cursor().execute("LOCK TABLE tenants IN ACCESS EXCLUSIVE MODE")
        process = subprocess.Popen(
            command(tmp_path / "dev", "--admin-port", str(admin_port)),
            env=environment(
                FLUXPAY_DATABASE_URL=database.app_url,
                FLUXPAY_OWNER_DATABASE_URL=database.owner_url,
            ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        asked = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'tenants'::regclass"
        await_true(lambda: bool(rows(database.owner_url, asked)))
        process.terminate()
        # Now the tenant is made, and whoever comes with its key finds the port closed.
        await_true(lambda: is_closed(admin_port))
    _, error = process.communicate(timeout=60)
    assert (0, b"") == (process.returncode, error)
    assert [] == await_nobody_below(tmp_path)
