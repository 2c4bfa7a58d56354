"""The embedded servers, real: they keep their data, and they never outlive who started them."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import redis

from fluxpay.embedded import places, process
from fluxpay.embedded.postgres import EmbeddedPostgres
from fluxpay.embedded.process import EmbeddedFailed
from fluxpay.embedded.valkey import EmbeddedValkey
from tests.embedded.processes import await_nobody_below, pids_below

# Starts both servers, says so, and then waits to be killed.
PARENT = """
import signal, sys
from pathlib import Path
from fluxpay.embedded.postgres import EmbeddedPostgres
from fluxpay.embedded.valkey import EmbeddedValkey
postgres = EmbeddedPostgres.start(Path(sys.argv[1]))
valkey = EmbeddedValkey.start(Path(sys.argv[1]))
print(postgres.server.pid, valkey.server.pid, flush=True)
signal.pause()
"""


def one_value(url: str, statement: str) -> object:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def start_parent(directory: Path) -> subprocess.Popen[str]:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(directory)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent.stdout:
        assert len(parent.stdout.readline().split()) == 2
    return parent


def test_postgres_keeps_its_data_over_a_restart(tmp_path: Path) -> None:
    first = EmbeddedPostgres.start(tmp_path)
    one_value(first.owner_url(), "CREATE TABLE kept AS SELECT 42 AS value")
    first.stop()
    second = EmbeddedPostgres.start(tmp_path)
    kept = one_value(second.owner_url(), "SELECT value FROM kept")
    second.stop()
    assert 42 == kept
    assert [] == pids_below(tmp_path)


def test_valkey_keeps_its_data_over_a_restart(tmp_path: Path) -> None:
    first = EmbeddedValkey.start(tmp_path)
    with redis.Redis.from_url(first.url) as client:
        client.set("kept", "42")
    first.stop()
    second = EmbeddedValkey.start(tmp_path)
    with redis.Redis.from_url(second.url) as client:
        kept = client.get("kept")
    second.stop()
    assert b"42" == kept
    assert [] == pids_below(tmp_path)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
        ("TimeZone", "UTC"),
    ],
)
def test_postgres_is_durable_and_private(
    postgres: EmbeddedPostgres, setting: str, expected: str
) -> None:
    assert expected == one_value(postgres.owner_url("postgres"), f"SHOW {setting}")


def test_postgres_sorts_by_code_point_wherever_it_runs(postgres: EmbeddedPostgres) -> None:
    query = (
        "SELECT format('%s/%s', datlocprovider, datlocale) FROM pg_database"
        " WHERE datname = current_database()"
    )
    assert "b/C.UTF-8" == one_value(postgres.owner_url(), query)


def test_the_application_role_is_no_superuser(postgres: EmbeddedPostgres) -> None:
    query = "SELECT session_user || ' ' || rolsuper FROM pg_roles WHERE rolname = session_user"
    assert "fluxpay_app false" == one_value(postgres.app_url(), query)
    assert "fluxpay_owner true" == one_value(postgres.owner_url(), query)


def test_valkey_writes_every_command_to_its_file_and_opens_no_port(valkey: EmbeddedValkey) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        assert {"appendonly": "yes"} == client.config_get("appendonly")
        assert {"port": "0"} == client.config_get("port")


def test_valkey_keeps_nothing_if_it_is_told_so(tmp_path: Path) -> None:
    valkey = EmbeddedValkey.start(tmp_path, settings={"appendonly": "no"})
    with redis.Redis.from_url(valkey.url) as client:
        assert {"appendonly": "no"} == client.config_get("appendonly")
    valkey.stop()


def test_only_the_owner_can_reach_the_files_and_the_sockets(
    postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    paths = [postgres.directory, *postgres.directory.rglob("*")]
    paths += [valkey.directory, *valkey.directory.rglob("*")]
    # What somebody else may do with them; Postgres drops a file now and then.
    modes = {path.lstat().st_mode & 0o077 for path in paths if path.exists()}
    assert {0} == modes
    assert postgres.sockets in paths
    assert valkey.socket_path in paths


def test_no_server_outlives_a_parent_that_is_killed_and_the_data_is_there(tmp_path: Path) -> None:
    parent = start_parent(tmp_path)
    running = pids_below(tmp_path)
    url = f"host={places.socket_folder(tmp_path)} user=fluxpay_owner dbname=fluxpay"
    one_value(url, "CREATE TABLE kept AS SELECT 42 AS value")
    parent.kill()
    parent.wait()
    assert len(running) > 2
    assert [] == await_nobody_below(tmp_path)

    again = EmbeddedPostgres.start(tmp_path)
    kept = one_value(again.owner_url(), "SELECT value FROM kept")
    again.stop()
    assert 42 == kept
    log = (tmp_path / "postgres.log").read_text()
    assert "database system was not properly shut down" in log


def test_a_start_waits_for_the_servers_of_a_killed_parent_that_still_die(tmp_path: Path) -> None:
    parent = start_parent(tmp_path)
    parent.kill()
    # At once: the old postmaster may still be there, with its pid file.
    postgres, valkey = EmbeddedPostgres.start(tmp_path), EmbeddedValkey.start(tmp_path)
    answers = one_value(postgres.owner_url(), "SELECT 1")
    valkey.stop()
    postgres.stop()
    parent.wait()
    assert 1 == answers


def test_a_pid_file_that_names_a_stranger_does_not_block_the_start(tmp_path: Path) -> None:
    EmbeddedPostgres.start(tmp_path).stop()
    # In a restarted container the old postmaster's pid often belongs to somebody else.
    stranger = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    (tmp_path / "postgres" / "postmaster.pid").write_text(f"{stranger.pid}\n{tmp_path}\n")
    try:
        server = EmbeddedPostgres.start(tmp_path)
        server.stop()
    finally:
        stranger.kill()
        stranger.wait()
    assert 0 == server.server.returncode


def test_a_second_server_in_one_folder_is_refused(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "ALONE_TIMEOUT_S", 0.1)
    with pytest.raises(EmbeddedFailed, match=r"postgres is in use by process \d+; stop it"):
        EmbeddedPostgres.start(postgres.directory)


def test_an_initdb_that_was_killed_half_way_is_done_again(tmp_path: Path) -> None:
    (tmp_path / "postgres.new").mkdir()
    (tmp_path / "postgres.new" / "PG_VERSION").write_text("18\n")
    server = EmbeddedPostgres.start(tmp_path)
    answers = one_value(server.app_url(), "SELECT 1")
    server.stop()
    assert 1 == answers
    assert not (tmp_path / "postgres.new").exists()


@pytest.mark.parametrize("name", ["x" * 120, 'a "b", c%20d é'])
def test_a_folder_may_have_a_long_or_a_strange_name(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    postgres, valkey = EmbeddedPostgres.start(directory), EmbeddedValkey.start(directory)
    sockets = postgres.sockets
    answers = one_value(postgres.app_url(), "SELECT 1")
    with redis.Redis.from_url(valkey.url) as client:
        pong = client.ping()
    assert sockets == valkey.socket_path.parent
    assert "0o700" == oct(sockets.stat().st_mode & 0o777)
    valkey.stop()
    assert sockets.exists()
    postgres.stop()
    assert not sockets.exists()
    assert (1, True) == (answers, pong)


def test_a_recorded_socket_folder_that_became_a_symlink_is_not_followed(tmp_path: Path) -> None:
    directory, elsewhere = tmp_path / ("x" * 120), tmp_path / "elsewhere"
    directory.mkdir()
    elsewhere.mkdir(mode=0o700)
    planted = tmp_path / "fluxpay-planted"
    planted.symlink_to(elsewhere)
    (directory / places.RECORD).write_text(str(planted))
    folder = places.socket_folder(directory)
    assert folder != planted
    assert not folder.is_symlink()
    places.forget_socket_folder(directory)
    assert not folder.exists()


def test_a_server_that_cannot_start_says_why_in_one_line(tmp_path: Path) -> None:
    EmbeddedPostgres.start(tmp_path).stop()
    (tmp_path / "postgres" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(EmbeddedFailed) as caught:
        EmbeddedPostgres.start(tmp_path)
    line = str(caught.value)
    assert line.startswith("postgres ended with code 1; ")
    assert "database files are incompatible with server" in line
    assert [line] == line.splitlines()
    assert [] == pids_below(tmp_path)


def test_the_environment_of_the_caller_changes_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGPORT": "1", "PGDATA": "/nowhere", "LC_ALL": "xx_XX", "TZ": "X"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HOME", raising=False)
    server = EmbeddedPostgres.start(tmp_path)
    zone = one_value(server.app_url(), "SHOW TimeZone")
    server.stop()
    assert "UTC" == zone


def test_a_start_off_the_main_thread_is_refused_since_the_server_would_die_with_it(
    tmp_path: Path,
) -> None:
    with ThreadPoolExecutor() as pool:
        failure = pool.submit(EmbeddedValkey.start, tmp_path).exception()
    assert isinstance(failure, EmbeddedFailed)
    assert str(failure).startswith("embedded servers are started from the main thread")


def test_ctrl_c_on_the_terminal_reaches_no_server(valkey: EmbeddedValkey) -> None:
    # It goes to the foreground process group; the servers have their own.
    assert os.getpgid(valkey.server.pid) != os.getpgid(os.getpid())
