"""`fluxpay dev` as its user sees it: one command, a pasted curl line, books that stay."""

import hashlib
import json
import shlex
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fluxpay.demo import TENANT
from fluxpay.embedded.postgres import EmbeddedPostgres
from tests.conftest import Database
from tests.e2e.dev import Dev, await_ready, command, environment, rows
from tests.embedded.processes import await_nobody_below, pids_below

KEYS = [
    "admin_token",
    "admin_url",
    "api_key",
    "api_url",
    "database_url",
    "owner_database_url",
    "pid",
    "redis_url",
    "tenant_id",
]


Start = Callable[..., Dev]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts a `fluxpay dev` and waits for it; whatever still runs in the end is ended."""
    started: list[subprocess.Popen[bytes]] = []

    def start(directory: Path, *arguments: str, **variables: str) -> Dev:
        output = tmp_path_factory.mktemp("output") / "text"
        with output.open("wb") as file:
            process = subprocess.Popen(
                # Whoever runs the tests under nohup has told all children to pass over SIGHUP.
                ["env", "--default-signal=HUP", *command(directory, *arguments)],
                env=environment(**variables),
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(process)
        return await_ready(process, directory, output)

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=60)


@pytest.fixture(scope="module")
def dev(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Dev:
    return start(tmp_path_factory.mktemp("shared") / "dev")


def paste(curl_line: str) -> tuple[int, dict[str, str], bytes]:
    """Run the line in a shell, as its user does: status, headers in lower case, body."""
    answer = subprocess.run(["sh", "-c", curl_line], capture_output=True, check=True, timeout=30)
    head, _, body = answer.stdout.partition(b"\r\n\r\n")
    status_line, *header_lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in header_lines)
    return int(status_line.split()[1]), headers, body


def payment_ids(dev: Dev) -> set[str]:
    request = urllib.request.Request(  # noqa: S310 - the address is the one we started
        f"{dev.ready['api_url']}/v1/payments",
        headers={"Authorization": f"Bearer {dev.ready['api_key']}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
        return {payment["id"] for payment in json.load(answer)["data"]}


def test_the_pasted_curl_line_pays_and_pasted_again_replays(dev: Dev) -> None:
    assert shutil.which("curl") is not None
    status, headers, body = paste(dev.curl_line)
    payment = json.loads(body)
    assert 201 == status
    assert headers["location"].endswith(f"/v1/payments/{payment['id']}")
    assert "idempotent-replayed" not in headers

    status, headers, again = paste(dev.curl_line)
    assert (201, "true", body) == (status, headers["idempotent-replayed"], again)


def test_the_payment_its_two_entries_and_the_digest_of_the_key_are_in_postgres(dev: Dev) -> None:
    payment = json.loads(paste(dev.curl_line)[2])
    url, tenant_id = dev.ready["owner_database_url"], dev.ready["tenant_id"]
    kept = rows(
        url,
        "SELECT tenant_id::text, amount, currency, status FROM payments WHERE id::text = %s",
        payment["id"],
    )
    assert [(tenant_id, 1250, "EUR", "captured")] == kept
    entries = rows(
        url,
        "SELECT direction, amount, currency FROM ledger_entries WHERE payment_id::text = %s"
        " ORDER BY direction",
        payment["id"],
    )
    assert [("credit", 1250, "EUR"), ("debit", 1250, "EUR")] == entries
    [(digest,)] = rows(
        url, "SELECT key_hash FROM api_keys WHERE tenant_id::text = %s AND is_active", tenant_id
    )
    expected = hashlib.sha256(dev.ready["api_key"].encode())
    shown = digest if isinstance(digest, str) else bytes(digest).hex()
    assert expected.hexdigest() == shown


def test_the_curl_line_is_shell_proof_and_its_key_is_fresh(dev: Dev) -> None:
    words = shlex.split(dev.curl_line)
    assert ["curl", "-i", f"{dev.ready['api_url']}/v1/payments"] == words[:3]
    assert f"Authorization: Bearer {dev.ready['api_key']}" in words
    assert 1 == sum(word.startswith("Idempotency-Key: ") for word in words)


def test_dev_json_holds_what_the_interface_says_and_works(dev: Dev) -> None:
    assert sorted(dev.ready) == KEYS
    assert dev.process.pid == dev.ready["pid"]
    assert [("fluxpay_app",)] == rows(dev.ready["database_url"], "SELECT session_user::text")
    request = urllib.request.Request(  # noqa: S310 - the address is the one we started
        f"{dev.ready['admin_url']}/admin/v1/tenants/{dev.ready['tenant_id']}",
        headers={"Authorization": f"Bearer {dev.ready['admin_token']}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
        tenant = json.load(answer)
    assert ("test", "active") == (tenant["environment"], tenant["state"])


def test_the_open_pages_are_there(dev: Dev) -> None:
    for path in ("/docs", "/openapi.json", "/problems/not_found", "/.well-known/security.txt"):
        with urllib.request.urlopen(dev.ready["api_url"] + path, timeout=10) as answer:  # noqa: S310 - as above
            assert 200 == answer.status


def test_everything_in_the_folder_is_its_owners_alone(dev: Dev) -> None:
    modes = {
        (path.is_dir(), oct(path.lstat().st_mode & 0o077))
        for path in (dev.directory, *dev.directory.rglob("*"))
        if path.is_dir() or path.is_file()
    }
    assert {(True, "0o0"), (False, "0o0")} == modes


def test_a_second_dev_on_the_folder_is_refused_in_one_line(dev: Dev) -> None:
    second = subprocess.run(
        command(dev.directory, "--reset"),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    expected = (
        f"fluxpay: {dev.directory} is in use by process {dev.process.pid}; "
        "stop that one, or choose another folder with --dir\n"
    )
    assert (1, expected) == (second.returncode, second.stderr)
    # The first one has not noticed, --reset or not.
    assert 201 == paste(dev.curl_line)[0]


@pytest.mark.parametrize(("option", "url"), [("--port", "api_url"), ("--admin-port", "admin_url")])
def test_a_second_dev_in_another_folder_does_not_share_the_port(
    dev: Dev, tmp_path: Path, option: str, url: str
) -> None:
    port = dev.ready[url].rpartition(":")[2]
    second = subprocess.run(
        command(tmp_path / "dev", option, port),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert 1 == second.returncode
    assert 1 == len(second.stderr.splitlines())
    assert port in second.stderr
    assert [] == pids_below(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_is_clean_and_a_restart_has_the_same_books_and_key(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    first = start(tmp_path / "dev")
    payment = json.loads(paste(first.curl_line)[2])
    assert 0 == first.stopped_by(number)
    assert [] == pids_below(tmp_path)
    assert not (tmp_path / "dev" / "dev.json").exists()
    last_words = (tmp_path / "dev" / "postgres.log").read_text().splitlines()[-1]
    assert "database system is shut down" in last_words

    second = start(tmp_path / "dev")
    kept = ("api_key", "tenant_id", "admin_token")
    assert [first.ready[name] for name in kept] == [second.ready[name] for name in kept]
    assert {payment["id"]} == payment_ids(second)
    assert 0 == second.stopped_by(signal.SIGTERM)


def test_after_a_kill_no_server_stays_and_the_next_start_recovers(
    start: Start, tmp_path: Path
) -> None:
    first = start(tmp_path / "dev")
    payment = json.loads(paste(first.curl_line)[2])
    running = pids_below(tmp_path)
    assert -signal.SIGKILL == first.stopped_by(signal.SIGKILL)
    assert len(running) > 2
    assert [] == await_nobody_below(tmp_path)

    second = start(tmp_path / "dev")
    status, headers, body = paste(
        first.curl_line.replace(first.ready["api_url"], second.ready["api_url"])
    )
    assert (201, "true", payment) == (status, headers["idempotent-replayed"], json.loads(body))
    assert 0 == second.stopped_by(signal.SIGTERM)


def test_a_start_right_after_a_kill_waits_for_the_dying_servers(
    start: Start, tmp_path: Path
) -> None:
    start(tmp_path / "dev").stopped_by(signal.SIGKILL)
    again = start(tmp_path / "dev")
    assert 201 == paste(again.curl_line)[0]
    assert 0 == again.stopped_by(signal.SIGTERM)


def test_a_reset_empties_the_books_and_leaves_what_is_not_ours(
    start: Start, tmp_path: Path
) -> None:
    directory = tmp_path / "dev"
    first = start(directory)
    assert 201 == paste(first.curl_line)[0]
    assert 0 == first.stopped_by(signal.SIGTERM)
    (directory / "notes.txt").write_text("precious")

    second = start(directory, "--reset")
    assert set() == payment_ids(second)
    assert first.ready["tenant_id"] != second.ready["tenant_id"]
    assert "precious" == (directory / "notes.txt").read_text()
    assert 0 == second.stopped_by(signal.SIGTERM)


def admin(dev: Dev, method: str, path: str, body: object = None) -> None:
    """Ask the admin API for something that it has to do."""
    request = urllib.request.Request(  # noqa: S310 - the address is the one we started
        f"{dev.ready['admin_url']}/admin/v1/tenants/{dev.ready['tenant_id']}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {dev.ready['admin_token']}",
            "Content-Type": "application/json",
        },
        method=method,
    )
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - as above


def test_what_was_done_to_the_demo_tenant_stays_and_a_revoked_key_is_replaced(
    start: Start, tmp_path: Path
) -> None:
    first = start(tmp_path / "dev")
    kept = json.loads((tmp_path / "dev" / "demo.json").read_text())
    admin(first, "PUT", "", TENANT | {"generation": 2, "display_name": "Mine"})
    admin(first, "DELETE", f"/keys/{kept['key_id']}")
    assert 0 == first.stopped_by(signal.SIGTERM)

    second = start(tmp_path / "dev")
    assert first.ready["tenant_id"] == second.ready["tenant_id"]
    assert first.ready["api_key"] != second.ready["api_key"]
    assert 201 == paste(second.curl_line)[0]
    assert 0 == second.stopped_by(signal.SIGTERM)


def test_servers_that_are_given_are_used_and_left_alone(
    start: Start, tmp_path: Path, database: Database, redis_url: str
) -> None:
    given = {
        "FLUXPAY_DATABASE_URL": database.app_url,
        "FLUXPAY_OWNER_DATABASE_URL": database.owner_url,
        "FLUXPAY_REDIS_URL": redis_url,
    }
    dev = start(tmp_path / "dev", "--host", "0.0.0.0", **given)  # noqa: S104 - that it is shown
    names = ("database_url", "owner_database_url", "redis_url")
    assert list(given.values()) == [dev.ready[name] for name in names]
    assert 201 == paste(dev.curl_line)[0]
    # Nobody can call 0.0.0.0, so it is told as an address that works when pasted.
    assert dev.ready["api_url"].startswith("http://127.0.0.1:")
    assert [] == pids_below(tmp_path)
    assert 0 == dev.stopped_by(signal.SIGTERM)
    assert [(1,)] == rows(database.owner_url, "SELECT count(*) FROM payments")


def test_the_owner_is_the_given_user_unless_another_is_named(
    start: Start, tmp_path: Path, postgres: EmbeddedPostgres, database: Database
) -> None:
    assert postgres.server.poll() is None
    dev = start(tmp_path / "dev", FLUXPAY_DATABASE_URL=database.owner_url)
    assert database.owner_url == dev.ready["owner_database_url"]
    assert dev.ready["redis_url"].startswith("unix://")
    assert 0 == dev.stopped_by(signal.SIGTERM)
