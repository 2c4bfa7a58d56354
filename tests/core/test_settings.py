"""What the environment may say, and the one line that answers when it says something else."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from fluxpay.settings import (
    BadSetting,
    Settings,
    database_urls,
    owner_database_url,
    tokens_in,
    without_password,
)

SECRET = "hunter2"
DATABASE = f"postgresql://app:{SECRET}@db/fluxpay"
REDIS = f"redis://:{SECRET}@cache:6379/0"
ENOUGH = {"FLUXPAY_DATABASE_URL": DATABASE, "FLUXPAY_REDIS_URL": REDIS}


def test_the_two_urls_are_enough_and_all_else_has_a_default() -> None:
    everywhere = "0.0.0.0"  # noqa: S104 - the default of a container
    expected = Settings(
        database_url=DATABASE, redis_url=REDIS, host=everywhere, admin_host=everywhere
    )
    assert expected == Settings.from_environment({"PATH": "/bin", **ENOUGH})


def test_every_variable_reaches_its_field(tmp_path: Path) -> None:
    for name in ("tokens", "cert", "key"):
        (tmp_path / name).write_text(f"the-{name}")
    actual = Settings.from_environment(
        {
            "FLUXPAY_DATABASE_URL": DATABASE,
            "FLUXPAY_OWNER_DATABASE_URL": "postgres://owner@db/fluxpay",
            "FLUXPAY_REDIS_URL": REDIS,
            "FLUXPAY_HOST": "10.1.2.3",
            "FLUXPAY_PORT": "443",
            "FLUXPAY_ADMIN_HOST": "::1",
            "FLUXPAY_ADMIN_PORT": "0",
            "FLUXPAY_ADMIN_TOKEN_FILE": str(tmp_path / "tokens"),
            "FLUXPAY_TLS_CERT_FILE": str(tmp_path / "cert"),
            "FLUXPAY_TLS_KEY_FILE": str(tmp_path / "key"),
            "FLUXPAY_ALLOW_HTTP": "Yes",
            "FLUXPAY_TRUSTED_PROXIES": "10.0.0.0/8, 192.168.1.1 fd00::/8",
            "FLUXPAY_SECURITY_CONTACT": "mailto:security@example.com",
            "FLUXPAY_IDEMPOTENCY_TTL_S": "60",
            "FLUXPAY_LOG_FORMAT": "Console",
            "FLUXPAY_LOG_LEVEL": "debug",
            "FLUXPAY_LOG_REQUESTS": "0.25",
            "FLUXPAY_COMMIT_BATCH_MAX": "16",
            "FLUXPAY_COMMIT_WRITERS": "3",
            "FLUXPAY_DATABASE_POOL_MAX": "3",
            "FLUXPAY_REDIS_TIMEOUT_MS": "70",
            "FLUXPAY_REQUEST_TIMEOUT_S": "5",
            "FLUXPAY_SHUTDOWN_TIMEOUT_S": "6",
            "FLUXPAY_BODY_MAX_BYTES": "2048",
        }
    )
    expected = Settings(
        database_url=DATABASE,
        owner_database_url="postgres://owner@db/fluxpay",
        redis_url=REDIS,
        host="10.1.2.3",
        port=443,
        admin_host="::1",
        admin_port=0,
        admin_token_file=tmp_path / "tokens",
        tls_cert_file=tmp_path / "cert",
        tls_key_file=tmp_path / "key",
        allow_http=True,
        trusted_proxies=(
            ip_network("10.0.0.0/8"),
            ip_network("192.168.1.1/32"),
            ip_network("fd00::/8"),
        ),
        security_contact="mailto:security@example.com",
        idempotency_ttl_s=60,
        log_format="console",
        log_level="DEBUG",
        log_requests=0.25,
        commit_batch_max=16,
        commit_writers=3,
        database_pool_max=3,
        redis_timeout_ms=70,
        request_timeout_s=5,
        shutdown_timeout_s=6,
        body_max_bytes=2048,
    )
    assert expected == actual


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"FLUXPAY_PORT": "65536"}, "FLUXPAY_PORT is '65536'; write a whole number"),
        ({"FLUXPAY_PORT": "-1"}, "FLUXPAY_PORT is '-1'; write a whole number from 0 to 65535"),
        ({"FLUXPAY_PORT": "٣"}, "FLUXPAY_PORT is '٣'; write a whole number"),
        ({"FLUXPAY_PORT": "9" * 5000}, "FLUXPAY_PORT is '9999"),
        ({"FLUXPAY_PORT": "tcp://10.0.0.1:8080"}, "FLUXPAY_PORT was set by Kubernetes"),
        ({"FLUXPAY_ADMIN_PORT": "8080"}, "FLUXPAY_ADMIN_PORT is 8080, as FLUXPAY_PORT is"),
        ({"FLUXPAY_HOST": "http://x"}, "FLUXPAY_HOST is 'http://x'; write a host name"),
        ({"FLUXPAY_ALLOW_HTTP": "maybe"}, "FLUXPAY_ALLOW_HTTP is 'maybe'; write true or false"),
        ({"FLUXPAY_LOG_LEVEL": "LOUD"}, "FLUXPAY_LOG_LEVEL is 'LOUD'; write one of DEBUG"),
        ({"FLUXPAY_LOG_FORMAT": "xml"}, "FLUXPAY_LOG_FORMAT is 'xml'; write one of json, console"),
        ({"FLUXPAY_LOG_REQUESTS": "1.01"}, "FLUXPAY_LOG_REQUESTS is '1.01'; write a number from 0"),
        ({"FLUXPAY_LOG_REQUESTS": "nan"}, "FLUXPAY_LOG_REQUESTS is 'nan'; write a number from 0"),
        ({"FLUXPAY_LOG_REQUESTS": "1%"}, "FLUXPAY_LOG_REQUESTS is '1%'; write a number from 0"),
        ({"FLUXPAY_IDEMPOTENCY_TTL_S": "0"}, "FLUXPAY_IDEMPOTENCY_TTL_S is '0'"),
        ({"FLUXPAY_COMMIT_BATCH_MAX": "501"}, "FLUXPAY_COMMIT_BATCH_MAX is '501'"),
        ({"FLUXPAY_BODY_MAX_BYTES": "1_0000"}, "FLUXPAY_BODY_MAX_BYTES is '1_0000'"),
        ({"FLUXPAY_TRUSTED_PROXIES": "10.0.0.1/8"}, "FLUXPAY_TRUSTED_PROXIES holds '10.0.0.1/8'"),
        ({"FLUXPAY_SECURITY_CONTACT": "a@b.c"}, "FLUXPAY_SECURITY_CONTACT is 'a@b.c'; write a URI"),
        ({"FLUXPAY_SECURITY_CONTACT": "mailto:a@b\nX: y"}, "FLUXPAY_SECURITY_CONTACT is 'mailto:"),
        ({"FLUXPAY_ADMIN_TOKEN": "schlüssel"}, "FLUXPAY_ADMIN_TOKEN holds a token that is not"),
        ({"FLUXPAY_DATABASE_URL": " "}, "FLUXPAY_DATABASE_URL is not set; set it to a postgresql"),
        ({"FLUXPAY_REDIS_URL": ""}, "FLUXPAY_REDIS_URL is not set; set it to a redis:// URL"),
        ({"FLUXPAY_DATABASE_ULR": "x"}, "did you mean FLUXPAY_DATABASE_URL?"),
        ({"FLUXPAY_DEV_MODE_ANY": "x"}, "FLUXPAY_DEV_MODE_ANY is not a setting; "),
        (
            {"FLUXPAY_DATABASE_URL": f"mysql://app:{SECRET}@db/x"},
            "FLUXPAY_DATABASE_URL has no scheme known here: mysql://; write postgresql://",
        ),
        ({"FLUXPAY_DATABASE_URL": SECRET}, "FLUXPAY_DATABASE_URL has no scheme known here; write"),
        (
            # libpq takes the password's first half for a port, and would quote it.
            {"FLUXPAY_DATABASE_URL": f"postgresql://app:{SECRET}/x@db/fluxpay"},
            "FLUXPAY_DATABASE_URL holds a host or port that cannot be read",
        ),
        (
            {"FLUXPAY_DATABASE_URL": f"postgresql://app:{SECRET}%zz@db/fluxpay"},
            "FLUXPAY_DATABASE_URL holds a % that encodes nothing",
        ),
        (
            {"FLUXPAY_DATABASE_URL": f"postgresql://app:{SECRET} x@db/fluxpay"},
            "FLUXPAY_DATABASE_URL holds a blank",
        ),
        ({"FLUXPAY_DATABASE_URL": "postgresql://db:99999/x"}, "a host or port that cannot be read"),
        ({"FLUXPAY_REDIS_URL": f"http://:{SECRET}@cache"}, "FLUXPAY_REDIS_URL has no scheme"),
        ({"FLUXPAY_REDIS_URL": "redis://"}, "FLUXPAY_REDIS_URL holds a host or port"),
        ({"FLUXPAY_REDIS_URL": f"redis://:{SECRET}@c:1x/0"}, "FLUXPAY_REDIS_URL holds a host"),
        ({"FLUXPAY_REDIS_URL": f"redis://:{SECRET}@c/one"}, "FLUXPAY_REDIS_URL names a database"),
        ({"FLUXPAY_REDIS_URL": "unix://"}, "FLUXPAY_REDIS_URL names no socket"),
        ({"FLUXPAY_TLS_KEY_FILE": "/dev/null"}, "FLUXPAY_TLS_CERT_FILE is not set, though"),
        ({"FLUXPAY_TLS_CERT_FILE": "/dev/null"}, "FLUXPAY_TLS_KEY_FILE is not set, though"),
        ({"FLUXPAY_TLS_KEY_FILE": "/none"}, "FLUXPAY_TLS_KEY_FILE names '/none': No such file"),
        ({"FLUXPAY_ADMIN_TOKEN_FILE": "/none"}, "FLUXPAY_ADMIN_TOKEN_FILE names '/none': No such"),
        ({"FLUXPAY_ADMIN_TOKEN_FILE": "/dev/null"}, "names '/dev/null', which holds no text"),
        ({"FLUXPAY_ADMIN_TOKEN_FILE": "/proc"}, "FLUXPAY_ADMIN_TOKEN_FILE names '/proc': Is a dir"),
        (
            {"FLUXPAY_ADMIN_TOKEN": SECRET, "FLUXPAY_ADMIN_TOKEN_FILE": "/dev/null"},
            "FLUXPAY_ADMIN_TOKEN is set, and so is FLUXPAY_ADMIN_TOKEN_FILE; unset one",
        ),
        ({"FLUXPAY_DATABASE_URL_FILE": "/none"}, "so is FLUXPAY_DATABASE_URL_FILE; unset one"),
    ],
)
def test_a_bad_value_is_one_line_that_names_it_and_holds_no_secret(
    variables: dict[str, str], expected: str
) -> None:
    with pytest.raises(BadSetting) as caught:
        Settings.from_environment({**ENOUGH, **variables})
    line = str(caught.value)
    assert expected in line
    assert [line] == line.splitlines()
    assert SECRET not in line
    assert line.startswith(f"{caught.value.variable} ")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgresql:///fluxpay?host=/run/postgresql",
        "postgresql://app@/fluxpay?host=%2Frun%2Fx&port=5432",
        "postgres://app:p%40ss@a:5432,b:5433,[::1]:5434/fluxpay?target_session_attrs=read-write",
    ],
)
def test_a_libpq_url_with_sockets_or_several_hosts_is_taken(url: str) -> None:
    assert url == Settings.from_environment({**ENOUGH, "FLUXPAY_DATABASE_URL": url}).database_url


@pytest.mark.parametrize(
    "url",
    [
        "redis://cache",
        "rediss://user:pass@cache:6380/3",
        "unix:///run/valkey.sock?db=2",
        "unix://:pass@/run/valkey.sock",
        "redis+cluster://a:7000,b:7001",
        "redis://[::1]:6379/0",
    ],
)
def test_every_redis_scheme_of_the_interface_is_taken(url: str) -> None:
    assert url == Settings.from_environment({**ENOUGH, "FLUXPAY_REDIS_URL": url}).redis_url


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(f"{DATABASE}\n")
    variables = {"FLUXPAY_DATABASE_URL_FILE": str(file), "FLUXPAY_REDIS_URL": REDIS}
    assert DATABASE == Settings.from_environment(variables).database_url


def test_a_secret_in_a_file_is_checked_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(BadSetting, match=r"FLUXPAY_REDIS_URL_FILE names .* which holds no text"):
        Settings.from_environment(
            {"FLUXPAY_DATABASE_URL": DATABASE, "FLUXPAY_REDIS_URL_FILE": str(file)}
        )


def test_the_repr_shows_no_secret() -> None:
    shown = repr(Settings.from_environment({**ENOUGH, "FLUXPAY_ADMIN_TOKEN": SECRET}))
    assert SECRET not in shown


def test_what_kubernetes_injects_for_a_service_is_no_typo() -> None:
    links = {
        "FLUXPAY_SERVICE_HOST": "10.0.0.1",
        "FLUXPAY_SERVICE_PORT": "8080",
        "FLUXPAY_SERVICE_PORT_HTTP": "8080",
        "FLUXPAY_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "FLUXPAY_PORT_8080_TCP_ADDR": "10.0.0.1",
        "FLUXPAY_ADMIN_SERVICE_HOST": "10.0.0.2",
        "FLUXPAY_REDIS_PORT": "tcp://10.0.0.3:6379",
    }
    assert Settings.from_environment(ENOUGH) == Settings.from_environment({**ENOUGH, **links})


def test_an_admin_token_variable_may_hold_several() -> None:
    settings = Settings.from_environment({**ENOUGH, "FLUXPAY_ADMIN_TOKEN": "old-token new-token"})
    assert ("old-token", "new-token") == tokens_in(settings.admin_token or "")


def test_migrate_needs_the_owner_and_dev_needs_nothing() -> None:
    assert DATABASE == owner_database_url({"FLUXPAY_OWNER_DATABASE_URL": DATABASE})
    assert (None, None, None) == database_urls({})
    with pytest.raises(BadSetting, match="FLUXPAY_OWNER_DATABASE_URL is not set"):
        owner_database_url(ENOUGH)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (DATABASE, "postgresql://***@db/fluxpay"),
        ("redis://cache:6379/0?password=hunter2", "redis://cache:6379/0"),
        ("redis://cache:6379/0?password=hunter2@x", "redis://***"),
        ("postgresql://app:a@hunter2@db/x", "postgresql://***@db/x"),
        ("postgresql://db/x", "postgresql://db/x"),
    ],
)
def test_a_url_is_shown_without_its_credentials(url: str, expected: str) -> None:
    assert expected == without_password(url)
