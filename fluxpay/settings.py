"""The settings of the service, read once from the environment and checked before anything starts.

Knows: which variables exist, what each may hold, and how to say in one line what is wrong. Every
secret also comes as `<VARIABLE>_FILE`, the way Docker and Kubernetes hand secrets over.
Must not know: what the settings are used for. It opens no connection, and reads no file but those
that the environment names. No error line and no repr holds a secret.

An empty variable counts as unset, because compose files pass unset variables on as empty ones.
`FLUXPAY_HOST` defaults to every interface when read from the environment, since `serve` lives in
a container; a Settings built in code defaults to loopback.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final

from fluxpay.variables import (
    PORT_MAX,
    PREFIX,
    BadSetting,
    Variables,
    check_database_url,
    check_redis_url,
    without_password,
)

__all__ = [
    "BadSetting",
    "OperatorSettings",
    "Settings",
    "WorkerSettings",
    "database_url",
    "database_urls",
    "owner_database_url",
    "tokens_in",
    "without_password",
]

SECRETS: Final = ("DATABASE_URL", "OWNER_DATABASE_URL", "REDIS_URL", "ADMIN_TOKEN")
PLAIN: Final = (
    "HOST",
    "PORT",
    "ADMIN_HOST",
    "ADMIN_PORT",
    "TLS_CERT_FILE",
    "TLS_KEY_FILE",
    "ALLOW_HTTP",
    "TRUSTED_PROXIES",
    "SECURITY_CONTACT",
    "IDEMPOTENCY_TTL_S",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "LOG_REQUESTS",
    "COMMIT_BATCH_MAX",
    "COMMIT_WRITERS",
    "DATABASE_POOL_MAX",
    "REDIS_TIMEOUT_MS",
    "REQUEST_TIMEOUT_S",
    "SHUTDOWN_TIMEOUT_S",
    "BODY_MAX_BYTES",
)
OPERATOR: Final = (
    "OPERATOR_ADMIN_URL",
    "OPERATOR_ADMIN_CA_FILE",
    "OPERATOR_API_URL",
    "OPERATOR_NAMESPACES",
    "OPERATOR_LEASE_NAMESPACE",
    "OPERATOR_LEASE_NAME",
    "OPERATOR_HOST",
    "OPERATOR_PORT",
    "OPERATOR_WORKERS",
    "OPERATOR_RESYNC_S",
)
WORKER: Final = ("WORKER_HOST", "WORKER_PORT", "VERIFY_INTERVAL_S")
KNOWN: Final = frozenset(
    PREFIX + name
    for name in (*PLAIN, *OPERATOR, *WORKER, *SECRETS, *(f"{secret}_FILE" for secret in SECRETS))
)
# Kubernetes puts these into every pod beside a Service called `fluxpay` (or `fluxpay-…`), unless
# the pod says enableServiceLinks: false. Nobody wrote them, so they are no typo.
SERVICE_LINK: Final = re.compile(
    r"FLUXPAY_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the service can be told from outside."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    owner_database_url: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    port: int = 8080
    admin_host: str = "127.0.0.1"
    admin_port: int = 8081
    admin_token: str | None = field(default=None, repr=False)
    admin_token_file: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    allow_http: bool = False
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    security_contact: str | None = None
    idempotency_ttl_s: int = 86_400
    log_format: str = "json"
    log_level: str = "INFO"
    log_requests: float = 0.01
    commit_batch_max: int = 32
    commit_writers: int = 1
    database_pool_max: int = 8
    redis_timeout_ms: int = 50
    request_timeout_s: int = 10
    shutdown_timeout_s: int = 10
    body_max_bytes: int = 65_536

    @staticmethod
    def from_environment(environ: Mapping[str, str]) -> "Settings":
        """Read and check every variable.

        Raises: BadSetting for the first one that is unknown, missing or wrong.
        """
        refuse_unknown(environ)
        variables = Variables(environ)
        token, token_file = variables.admin_token()
        cert_file, key_file = variables.tls_files()
        host = variables.text("HOST", "0.0.0.0")  # noqa: S104 - a container is reached from outside
        admin_host = variables.text("ADMIN_HOST", host)
        port = variables.number("PORT", 8080, at_most=PORT_MAX, at_least=0)
        admin_port = variables.number("ADMIN_PORT", 8081, at_most=PORT_MAX, at_least=0)
        if port == admin_port != 0 and host == admin_host:
            raise BadSetting(
                PREFIX + "ADMIN_PORT", f"is {port}, as FLUXPAY_PORT is; set another one"
            )
        return Settings(
            database_url=variables.required_url("DATABASE_URL", check_database_url),
            owner_database_url=variables.url("OWNER_DATABASE_URL", check_database_url),
            redis_url=variables.required_url("REDIS_URL", check_redis_url),
            host=host,
            port=port,
            admin_host=admin_host,
            admin_port=admin_port,
            admin_token=token,
            admin_token_file=token_file,
            tls_cert_file=cert_file,
            tls_key_file=key_file,
            allow_http=variables.switch("ALLOW_HTTP"),
            trusted_proxies=variables.networks("TRUSTED_PROXIES"),
            security_contact=variables.contact("SECURITY_CONTACT"),
            idempotency_ttl_s=variables.number("IDEMPOTENCY_TTL_S", 86_400, at_most=2_592_000),
            log_format=variables.log_format(),
            log_level=variables.log_level(),
            log_requests=variables.ratio("LOG_REQUESTS", 0.01),
            commit_batch_max=variables.number("COMMIT_BATCH_MAX", 32, at_most=500),
            commit_writers=variables.number("COMMIT_WRITERS", 1, at_most=16),
            database_pool_max=variables.number("DATABASE_POOL_MAX", 8, at_most=1_000),
            redis_timeout_ms=variables.number("REDIS_TIMEOUT_MS", 50, at_most=10_000),
            request_timeout_s=variables.number("REQUEST_TIMEOUT_S", 10, at_most=300),
            shutdown_timeout_s=variables.number("SHUTDOWN_TIMEOUT_S", 10, at_most=300),
            body_max_bytes=variables.number(
                "BODY_MAX_BYTES", 65_536, at_least=1_024, at_most=10_485_760
            ),
        )


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """What the operator can be told from outside; it has no database, and no way to one.

    Args:
        namespaces: Where it looks for tenants; none means the whole cluster.
        lease_namespace: None takes the namespace of the pod.
    """

    operator_admin_url: str
    operator_api_url: str
    admin_token_file: Path | None
    admin_token: str | None = field(repr=False)
    operator_admin_ca_file: Path | None = None
    operator_namespaces: tuple[str, ...] = ()
    operator_lease_namespace: str | None = None
    operator_lease_name: str = "fluxpay-operator"
    operator_host: str = "0.0.0.0"  # noqa: S104 - the kubelet probes from outside
    operator_port: int = 8082
    operator_workers: int = 8
    operator_resync_s: int = 300
    log_format: str = "json"
    log_level: str = "INFO"
    shutdown_timeout_s: int = 10

    @staticmethod
    def from_environment(environ: Mapping[str, str]) -> "OperatorSettings":
        """Read and check the variables of the operator.

        Raises: BadSetting for the first one that is unknown, missing or wrong.
        """
        refuse_unknown(environ)
        variables = Variables(environ)
        token, token_file = variables.admin_token()
        if token is None and token_file is None:
            raise BadSetting(
                PREFIX + "ADMIN_TOKEN_FILE", "is not set; name a file that holds an admin token"
            )
        return OperatorSettings(
            operator_admin_url=variables.http_url("OPERATOR_ADMIN_URL"),
            operator_api_url=variables.http_url("OPERATOR_API_URL"),
            admin_token_file=token_file,
            admin_token=token,
            operator_admin_ca_file=variables.readable_file("OPERATOR_ADMIN_CA_FILE"),
            operator_namespaces=variables.labels("OPERATOR_NAMESPACES"),
            operator_lease_namespace=next(
                iter(variables.labels("OPERATOR_LEASE_NAMESPACE", at_most=1)), None
            ),
            operator_lease_name=next(
                iter(variables.labels("OPERATOR_LEASE_NAME", at_most=1)), "fluxpay-operator"
            ),
            operator_host=variables.text("OPERATOR_HOST", "0.0.0.0"),  # noqa: S104 - as above
            operator_port=variables.number("OPERATOR_PORT", 8082, at_most=PORT_MAX, at_least=0),
            operator_workers=variables.number("OPERATOR_WORKERS", 8, at_most=64),
            operator_resync_s=variables.number(
                "OPERATOR_RESYNC_S", 300, at_least=10, at_most=86_400
            ),
            log_format=variables.log_format(),
            log_level=variables.log_level(),
            shutdown_timeout_s=variables.number("SHUTDOWN_TIMEOUT_S", 10, at_most=300),
        )


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What the worker can be told from outside; it needs no Redis and no token.

    Args:
        worker_host: Where its probes and metrics answer.
        verify_interval_s: From the end of one proof of the books to the next, among all workers;
            0 proves nothing.
    """

    database_url: str = field(repr=False)
    worker_host: str = "0.0.0.0"  # noqa: S104 - the kubelet probes from outside
    worker_port: int = 8083
    verify_interval_s: int = 3600
    log_format: str = "json"
    log_level: str = "INFO"
    shutdown_timeout_s: int = 10

    @staticmethod
    def from_environment(environ: Mapping[str, str]) -> "WorkerSettings":
        """Read and check the variables of the worker.

        Raises: BadSetting for the first one that is unknown, missing or wrong.
        """
        refuse_unknown(environ)
        variables = Variables(environ)
        return WorkerSettings(
            database_url=variables.required_url("DATABASE_URL", check_database_url),
            worker_host=variables.text("WORKER_HOST", "0.0.0.0"),  # noqa: S104 - as above
            worker_port=variables.number("WORKER_PORT", 8083, at_most=PORT_MAX, at_least=0),
            verify_interval_s=variables.number(
                "VERIFY_INTERVAL_S", 3600, at_least=0, at_most=604_800
            ),
            log_format=variables.log_format(),
            log_level=variables.log_level(),
            shutdown_timeout_s=variables.number("SHUTDOWN_TIMEOUT_S", 10, at_most=300),
        )


def owner_database_url(environ: Mapping[str, str]) -> str:
    """Read the one setting that `fluxpay migrate` needs.

    Raises: BadSetting when it is missing or wrong, or when any FLUXPAY_ variable is unknown.
    """
    refuse_unknown(environ)
    return Variables(environ).required_url("OWNER_DATABASE_URL", check_database_url)


def database_url(environ: Mapping[str, str]) -> str:
    """Read the one setting that a command needs which only reads the books.

    Raises: BadSetting when it is missing or wrong, or when any FLUXPAY_ variable is unknown.
    """
    refuse_unknown(environ)
    return Variables(environ).required_url("DATABASE_URL", check_database_url)


def database_urls(environ: Mapping[str, str]) -> tuple[str | None, str | None, str | None]:
    """Read what `fluxpay dev` may be given: the database URL, its owner's URL, the Redis URL."""
    refuse_unknown(environ)
    variables = Variables(environ)
    return (
        variables.url("DATABASE_URL", check_database_url),
        variables.url("OWNER_DATABASE_URL", check_database_url),
        variables.url("REDIS_URL", check_redis_url),
    )


def tokens_in(text: str) -> tuple[str, ...]:
    """Split what FLUXPAY_ADMIN_TOKEN or its file holds into the tokens that are valid now."""
    return tuple(text.split())


def refuse_unknown(environ: Mapping[str, str]) -> None:
    """Refuse a FLUXPAY_ variable that nobody reads: most likely a typo that would pass in silence.

    Raises: BadSetting with the nearest known name.
    """
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in KNOWN:
            continue
        if SERVICE_LINK.fullmatch(name) or environ[name].startswith(("tcp://", "udp://")):
            continue
        near = difflib.get_close_matches(name, sorted(KNOWN), n=1)
        hint = f"did you mean {near[0]}?" if near else "remove it, or see the reference for names"
        raise BadSetting(name, f"is not a setting; {hint}")
