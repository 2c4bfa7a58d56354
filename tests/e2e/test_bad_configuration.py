"""What a wrong configuration looks like: one line that names it, an exit code, no secret."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from fluxpay.embedded.postgres import EmbeddedPostgres
from fluxpay.embedded.valkey import EmbeddedValkey
from tests.conftest import Database

SECRET = "hunter2"
UNREACHABLE = f"postgresql://app:{SECRET}@127.0.0.1:1/fluxpay"
ENOUGH = {
    "FLUXPAY_DATABASE_URL": UNREACHABLE,
    "FLUXPAY_REDIS_URL": f"redis://:{SECRET}@127.0.0.1:1/0",
}
ENOUGH_FOR_THE_OPERATOR = {
    "FLUXPAY_OPERATOR_ADMIN_URL": "http://127.0.0.1:1",
    "FLUXPAY_OPERATOR_API_URL": "https://pay.example.com",
    "FLUXPAY_ADMIN_TOKEN": SECRET,
}


def fluxpay(*arguments: str, **variables: str) -> tuple[int, str]:
    """Run a command to its end: its exit code and its one line, which is all it may say."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("FLUXPAY_")}
    done = subprocess.run(
        [sys.executable, "-m", "fluxpay.cli", *arguments],
        env={**clean, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    lines = done.stderr.splitlines()
    assert ["fluxpay: "] == [line[:9] for line in lines], done.stderr
    assert SECRET not in done.stderr + done.stdout
    return done.returncode, lines[0]


@pytest.fixture
def taken_port() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield str(listener.getsockname()[1])


@pytest.fixture
def working(database: Database, valkey: EmbeddedValkey) -> dict[str, str]:
    return {
        "FLUXPAY_DATABASE_URL": database.app_url,
        "FLUXPAY_REDIS_URL": valkey.url,
        "FLUXPAY_HOST": "127.0.0.1",
        "FLUXPAY_PORT": "0",
        "FLUXPAY_ADMIN_PORT": "0",
        "FLUXPAY_ALLOW_HTTP": "true",
    }


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that asks for a password, and the URL with a wrong one."""
    server = EmbeddedPostgres.start(tmp_path_factory.mktemp("guarded"))
    rules = server.directory / "postgres" / "pg_hba.conf"
    rules.write_text(f"local all guarded scram-sha-256\n{rules.read_text()}")
    with closing(psycopg2.connect(server.owner_url())) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("CREATE ROLE guarded LOGIN PASSWORD 'the right one'")
        cursor.execute("SELECT pg_reload_conf()")
    yield server.owner_url().replace("fluxpay_owner@", f"guarded:{SECRET}@")
    server.stop()


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        (["serve"], {}, "fluxpay: FLUXPAY_DATABASE_URL is not set; set it to a postgresql:// URL"),
        (["serve"], {**ENOUGH, "FLUXPAY_PORT": "http"}, "fluxpay: FLUXPAY_PORT is 'http'; write a"),
        (["serve"], {**ENOUGH, "FLUXPAY_PROT": "80"}, "did you mean FLUXPAY_PORT?"),
        (
            ["serve"],
            {**ENOUGH, "FLUXPAY_ADMIN_TOKEN_FILE": "/no/such"},
            "fluxpay: FLUXPAY_ADMIN_TOKEN_FILE names '/no/such': No such file",
        ),
        (
            ["serve"],
            {**ENOUGH, "FLUXPAY_DATABASE_URL": f"postgresql://a:{SECRET}/b@db/x"},
            "fluxpay: FLUXPAY_DATABASE_URL holds a host or port that cannot be read",
        ),
        *(
            (
                [command],
                {**ENOUGH, **ENOUGH_FOR_THE_OPERATOR, "OTEL_TRACES_SAMPLER": "often"},
                "fluxpay: OTEL_TRACES_SAMPLER is 'often'; write parentbased_always_on or",
            )
            for command in ("serve", "worker", "operator")
        ),
        (
            ["dev"],
            {"OTEL_EXPORTER_OTLP_HEADERS": f"a={SECRET},{SECRET}"},
            "fluxpay: OTEL_EXPORTER_OTLP_HEADERS holds a part that is no pair; write name=value",
        ),
        (["migrate"], {}, "fluxpay: FLUXPAY_OWNER_DATABASE_URL is not set"),
        (["migrate", "--check"], {}, "fluxpay: FLUXPAY_OWNER_DATABASE_URL is not set"),
        (["dev", "--port", "99999"], {}, "argument --port: '99999' is no port; write a number"),
        (["dev"], {"FLUXPAY_REDIS_URL": "http://x"}, "FLUXPAY_REDIS_URL has no scheme known here"),
        (["dev"], {"FLUXPAY_OWNER_DATABASE_URL": UNREACHABLE}, "set both or none"),
        (["nothing"], {}, "invalid choice: 'nothing'"),
        ([], {}, "the following arguments are required: COMMAND; run: fluxpay --help"),
    ],
)
def test_a_usage_error_exits_with_2(
    arguments: list[str], variables: dict[str, str], expected: str, tmp_path: Path
) -> None:
    if arguments == ["dev"]:
        arguments = ["dev", "--dir", str(tmp_path / "dev")]
    code, line = fluxpay(*arguments, **variables)
    assert (2, True) == (code, expected in line), line


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_an_unreachable_database_is_named(command: str, tmp_path: Path) -> None:
    arguments = ["dev", "--dir", str(tmp_path / "dev")] if command == "dev" else ["serve"]
    code, line = fluxpay(*arguments, **ENOUGH)
    assert (1, True) == (code, "check FLUXPAY_DATABASE_URL" in line), line


def test_migrate_names_its_own_variable_for_an_unreachable_database() -> None:
    code, line = fluxpay("migrate", FLUXPAY_OWNER_DATABASE_URL=UNREACHABLE)
    assert (1, True) == (code, "check FLUXPAY_OWNER_DATABASE_URL" in line), line


@pytest.mark.parametrize(
    ("command", "variable"),
    [
        ("serve", "FLUXPAY_DATABASE_URL"),
        ("worker", "FLUXPAY_DATABASE_URL"),
        ("verify", "FLUXPAY_DATABASE_URL"),
        ("verify", "FLUXPAY_OWNER_DATABASE_URL"),
        ("migrate", "FLUXPAY_OWNER_DATABASE_URL"),
        ("migrate --check", "FLUXPAY_DATABASE_URL"),
    ],
)
def test_a_parameter_that_libpq_does_not_know_is_told_without_the_url(
    command: str, variable: str
) -> None:
    url = f"{UNREACHABLE}?passwd={SECRET}"
    code, line = fluxpay(*command.split(), **{**ENOUGH, variable: url})
    expected = f"fluxpay: {variable} cannot be read as a database URL; check its"
    assert (2, True) == (code, line.startswith(expected)), line


@pytest.mark.parametrize(
    "url",
    [
        f"redis://127.0.0.1:1?passwd={SECRET}",
        f"redis://127.0.0.1:1?db={SECRET}",
        f"redis+cluster://127.0.0.1:1?passwd={SECRET}",
        f"unix:///run/valkey.sock?socket_timeout={SECRET}",
    ],
)
def test_a_parameter_that_is_none_of_redis_is_told_without_the_url(
    url: str, working: dict[str, str]
) -> None:
    code, line = fluxpay("serve", **{**working, "FLUXPAY_REDIS_URL": url})
    expected = "fluxpay: FLUXPAY_REDIS_URL cannot be read; check its parameters"
    assert (2, expected) == (code, line)


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_wrong_password_is_told(command: str, guarded: str, valkey: EmbeddedValkey) -> None:
    urls = {"FLUXPAY_DATABASE_URL": guarded, "FLUXPAY_OWNER_DATABASE_URL": guarded}
    code, line = fluxpay(command, **urls, FLUXPAY_REDIS_URL=valkey.url)
    assert (1, True) == (code, "password authentication failed" in line), line


def test_a_database_that_is_not_there_is_told(working: dict[str, str]) -> None:
    urls = {"FLUXPAY_DATABASE_URL": working["FLUXPAY_DATABASE_URL"].replace("/test_", "/gone_")}
    code, line = fluxpay("serve", **{**working, **urls})
    assert (1, True) == (code, "does not exist" in line), line


@pytest.mark.parametrize("variable", ["FLUXPAY_PORT", "FLUXPAY_ADMIN_PORT"])
def test_a_port_that_is_taken_is_told(
    variable: str, working: dict[str, str], taken_port: str
) -> None:
    code, line = fluxpay("serve", **{**working, variable: taken_port})
    assert (1, True, True) == (code, taken_port in line, variable in line), line


def test_an_address_of_another_machine_is_told(working: dict[str, str]) -> None:
    code, line = fluxpay("serve", **{**working, "FLUXPAY_HOST": "192.0.2.1"})
    assert (1, True) == (code, "set FLUXPAY_HOST to an address of this machine" in line), line


@pytest.mark.parametrize("variable", ["FLUXPAY_HOST", "FLUXPAY_ADMIN_HOST"])
def test_a_host_that_is_none_is_told(variable: str, working: dict[str, str]) -> None:
    code, line = fluxpay("serve", **{**working, variable: "256.1.1.1"})
    assert (2, True) == (
        code,
        variable in line and "is no address of this machine; set it to" in line,
    ), line


def test_a_certificate_that_is_none_is_told(working: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "file.pem"
    file.write_text("not a certificate")
    tls = {"FLUXPAY_TLS_CERT_FILE": str(file), "FLUXPAY_TLS_KEY_FILE": str(file)}
    code, line = fluxpay("serve", **{**working, **tls})
    assert (2, True) == (code, "FLUXPAY_TLS_CERT_FILE" in line), line


def test_a_schema_that_is_behind_exits_with_3_until_it_is_migrated(
    working: dict[str, str], postgres: EmbeddedPostgres
) -> None:
    name = "test_unmigrated"
    with closing(psycopg2.connect(postgres.owner_url())) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
    urls = {
        "FLUXPAY_DATABASE_URL": postgres.app_url(name),
        "FLUXPAY_OWNER_DATABASE_URL": postgres.owner_url(name),
    }
    for command in (["serve"], ["migrate", "--check"]):
        code, line = fluxpay(*command, **{**working, **urls})
        assert (3, True) == (code, "run: fluxpay migrate" in line), line

    outcomes = [
        subprocess.run(
            [sys.executable, "-m", "fluxpay.cli", "migrate", *arguments],
            env={**os.environ, **urls},
            capture_output=True,
            text=True,
            check=False,
        )
        for arguments in ([], ["--check"], [])
    ]
    assert [0, 0, 0] == [outcome.returncode for outcome in outcomes]
    assert ["up to date", "up to date"] == [one.stdout.strip() for one in outcomes[1:]]


def test_a_folder_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    tmp_path.chmod(0o755)
    code, line = fluxpay("dev", "--reset", "--dir", str(tmp_path))
    assert (1, True) == (code, "holds something else; choose an empty or new folder" in line), line
    assert ["thesis.txt"] == [path.name for path in tmp_path.iterdir()]
    assert 0o755 == tmp_path.stat().st_mode & 0o777


@pytest.mark.parametrize("below", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_named(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, line = fluxpay("dev", "--dir", str(tmp_path / below))
    assert (1, True) == (code, str(tmp_path / "file") in line), line
    assert "check that it exists" not in line


def test_help_names_every_command_and_is_no_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fluxpay.cli", "--help"], capture_output=True, text=True, check=False
    )
    named = [name for name in ("dev", "serve", "migrate", "openapi") if f"  {name}" in done.stdout]
    assert (0, "", ["dev", "serve", "migrate", "openapi"]) == (done.returncode, done.stderr, named)
