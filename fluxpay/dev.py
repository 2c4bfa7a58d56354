"""`fluxpay dev`: a whole service in one process and one folder, on real servers.

Knows: the order of things. Lock the folder, start the servers, migrate, serve and work, register
the demo tenant, tell the user; then take it all down in reverse.
Must not know: how any of these is done.
"""

import asyncio
import json
import os
import secrets
import shlex
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop

from fluxpay import demo
from fluxpay.embedded import places, process
from fluxpay.embedded.lock import DirectoryLock
from fluxpay.embedded.postgres import EmbeddedPostgres
from fluxpay.embedded.process import EmbeddedFailed
from fluxpay.embedded.valkey import EmbeddedValkey
from fluxpay.observability.trace_settings import TraceSettings
from fluxpay.settings import BadSetting, Settings, WorkerSettings, database_urls, tokens_in
from fluxpay.stores.migrations import migrate
from fluxpay.termination import termination
from fluxpay.web.server import Listening, serve
from fluxpay.web.telemetry import PROCESS
from fluxpay.worker.process import work
from fluxpay.worker.telemetry import Metrics

# The mark of a folder that is ours. It also keeps the keys in it out of a repository.
MARK: Final = ".gitignore"
MARK_TEXT: Final = "# Made by `fluxpay dev`, which keeps its data here.\n*\n"
READY_FILE: Final = "dev.json"
TOKEN_FILE: Final = "admin.token"  # noqa: S105 - the file's name, not a token
DEMO_FILE: Final = "demo.json"
DATA: Final = (
    "postgres",
    "postgres.new",
    "postgres.log",
    "postgres.log.1",
    "valkey",
    "valkey.log",
    "valkey.log.1",
    "run",
    READY_FILE,
    TOKEN_FILE,
    DEMO_FILE,
)


@dataclass(frozen=True, slots=True)
class DevOptions:
    """What the command line says; None leaves it to the environment, then to the default."""

    directory: Path
    host: str | None = None
    port: int | None = None
    admin_port: int | None = None
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the servers are, embedded or given."""

    database_url: str
    owner_database_url: str
    redis_url: str


def run(options: DevOptions, environ: Mapping[str, str]) -> None:
    """Run until Ctrl-C or SIGTERM.

    Raises: BadSetting, DirectoryInUse, EmbeddedFailed, DemoFailed, and what migrating and serving
    raise.
    """
    # Refused before anything is started.
    given = database_urls(environ)
    traces = TraceSettings.from_environment(environ, service="fluxpay")
    with ExitStack() as stack:
        _stop_on_signals(stack)
        directory = _own_folder(options.directory)
        lock = DirectoryLock.take(directory)
        stack.callback(lock.release)
        # Whoever waits for this file must not see the one of a run that was killed.
        (directory / READY_FILE).unlink(missing_ok=True)
        if options.reset:
            _empty(directory)
        servers = _start_servers(directory, given, stack)
        _say("Migrating")
        migrate(servers.owner_database_url, report=lambda line: _say(f"  {line}"))
        variables = _variables(options, environ, servers, _token_file(directory))
        settings = Settings.from_environment(variables)
        worker_settings = WorkerSettings.from_environment(variables)
        stack.callback((directory / READY_FILE).unlink, missing_ok=True)
        _say("Starting the service")

        async def greet(listening: Listening) -> None:
            await _greet(listening, settings, servers, directory)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, worker_settings, traces, greet))
        _say("Stopping")


async def _serve(
    settings: Settings,
    worker_settings: WorkerSettings,
    traces: TraceSettings | None,
    greet: Callable[[Listening], Awaitable[None]],
) -> None:
    listening: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    with termination() as told:
        serving = asyncio.ensure_future(
            serve(
                settings,
                stop=told,
                traces=traces,
                on_ready=listening.set_result,
                # A shared port would hand half the requests to another folder's service.
                share_port=False,
            )
        )
        await _first_of(serving, listening)
        if not listening.done():
            return await serving
        stop = asyncio.Event()
        # One process has one page of metrics: the worker's stand on the service's.
        metrics = Metrics(PROCESS.registry)
        working = asyncio.ensure_future(work(worker_settings, stop=stop, metrics=metrics))
        greeting = asyncio.ensure_future(greet(listening.result()))
        await _first_of(serving, working, greeting)
        if greeting.done() and greeting.exception() is None:
            await _first_of(serving, working)
        was_told = told.is_set()
        if working.done() and not serving.done() and not was_told:
            _say("The worker has died; stopping")
        # Without its worker or its demo tenant the service is of no use here.
        told.set()
        await serving
        stop.set()
        greeting.cancel()
        worked, greeted = await asyncio.gather(working, greeting, return_exceptions=True)
        # Whoever was told to stop has nobody to greet: a closing port may have refused it.
        for outcome in (worked,) if was_told else (worked, greeted):
            if isinstance(outcome, Exception):
                raise outcome
        return None


async def _first_of(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


async def _greet(
    listening: Listening, settings: Settings, servers: Servers, directory: Path
) -> None:
    api_url, admin_url = listening.api_url, listening.admin_url
    token = _admin_token(settings)
    tenant = await demo.register(admin_url, token, directory / DEMO_FILE)
    ready = {
        "api_url": api_url,
        "admin_url": admin_url,
        "api_key": tenant.api_key,
        "admin_token": token,
        "tenant_id": tenant.tenant_id,
        "database_url": servers.database_url,
        "owner_database_url": servers.owner_database_url,
        "redis_url": servers.redis_url,
        "pid": os.getpid(),
    }
    places.write_private(directory / READY_FILE, json.dumps(ready, indent=2) + "\n")
    _say(f"\nFluxPay is ready. Ctrl-C stops it; the data stays in {directory}.\n")
    _say(f"  API      {api_url}")
    _say(f"  Admin    {admin_url}")
    _say(f"  API key  {tenant.api_key}")
    _say(f"\nMake a payment:\n\n{_curl_line(api_url, tenant.api_key)}\n")


def _curl_line(api_url: str, api_key: str) -> str:
    words = ["curl", "-i", f"{api_url}/v1/payments"]
    headers = {
        "Authorization": f"Bearer {api_key}",
        "Idempotency-Key": f"demo-{secrets.token_hex(8)}",
        "Content-Type": "application/json",
    }
    for name, value in headers.items():
        words += ["-H", f"{name}: {value}"]
    body = json.dumps({"amount": 1250, "currency": "EUR", "description": "My first payment"})
    return shlex.join([*words, "-d", body])


def _own_folder(directory: Path) -> Path:
    directory = directory.absolute()
    mark = directory / MARK
    if directory.is_dir() and any(directory.iterdir()) and not _is_marked(mark):
        message = f"{directory} holds something else; choose an empty or new folder with --dir"
        raise EmbeddedFailed(message)
    places.private_folder(directory)
    if not mark.exists():
        places.write_private(mark, MARK_TEXT)
    return directory


def _is_marked(mark: Path) -> bool:
    return mark.is_file() and mark.read_text(errors="replace") == MARK_TEXT


def _empty(directory: Path) -> None:
    # Servers of a run that was killed may still be writing.
    for folder in ("postgres", "postgres.new", "valkey"):
        process.await_alone(directory / folder)
    # By name, so that what somebody else put here stays. The lock stays too: we hold it.
    for name in DATA:
        path = directory / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _start_servers(
    directory: Path, given: tuple[str | None, str | None, str | None], stack: ExitStack
) -> Servers:
    database_url, owner_url, redis_url = given
    if database_url is None:
        if owner_url is not None:
            raise BadSetting(
                "FLUXPAY_OWNER_DATABASE_URL",
                "is set without FLUXPAY_DATABASE_URL; set both or none",
            )
        _say("Starting Postgres")
        postgres = EmbeddedPostgres.start(directory)
        stack.callback(postgres.stop)
        database_url, owner_url = postgres.app_url(), postgres.owner_url()
    if redis_url is None:
        _say("Starting Valkey")
        valkey = EmbeddedValkey.start(directory)
        stack.callback(valkey.stop)
        redis_url = valkey.url
    return Servers(database_url, owner_url or database_url, redis_url)


def _variables(
    options: DevOptions, environ: Mapping[str, str], servers: Servers, token_file: Path
) -> dict[str, str]:
    variables = {
        name: value
        for name, value in environ.items()
        # Resolved already, and must not stand beside the URLs below.
        if not name.endswith("_URL_FILE")
    }
    if variables.get("FLUXPAY_TLS_CERT_FILE") or variables.get("FLUXPAY_TLS_KEY_FILE"):
        name = "FLUXPAY_TLS_CERT_FILE"
        raise BadSetting(name, "has no use in fluxpay dev, which speaks plain HTTP; unset it")
    variables |= {
        "FLUXPAY_DATABASE_URL": servers.database_url,
        "FLUXPAY_OWNER_DATABASE_URL": servers.owner_database_url,
        "FLUXPAY_REDIS_URL": servers.redis_url,
        "FLUXPAY_ALLOW_HTTP": "true",
        "FLUXPAY_HOST": options.host or variables.get("FLUXPAY_HOST") or "127.0.0.1",
        "FLUXPAY_LOG_FORMAT": variables.get("FLUXPAY_LOG_FORMAT")
        or ("console" if sys.stderr.isatty() else "json"),
        # Whoever runs it is the one to tell.
        "FLUXPAY_SECURITY_CONTACT": variables.get("FLUXPAY_SECURITY_CONTACT")
        or "mailto:security@localhost",
        # A person reads the terminal, and is told what happens in other words.
        "FLUXPAY_LOG_LEVEL": variables.get("FLUXPAY_LOG_LEVEL") or "WARNING",
    }
    if options.port is not None:
        variables["FLUXPAY_PORT"] = str(options.port)
    if options.admin_port is not None:
        variables["FLUXPAY_ADMIN_PORT"] = str(options.admin_port)
    if not variables.get("FLUXPAY_ADMIN_TOKEN") and not variables.get("FLUXPAY_ADMIN_TOKEN_FILE"):
        variables["FLUXPAY_ADMIN_TOKEN_FILE"] = str(token_file)
    return variables


def _token_file(directory: Path) -> Path:
    path = directory / TOKEN_FILE
    if not path.exists():
        places.write_private(path, secrets.token_urlsafe(32) + "\n")
    return path


def _admin_token(settings: Settings) -> str:
    file = settings.admin_token_file
    return tokens_in(file.read_text() if file is not None else settings.admin_token or "")[0]


def _stop_on_signals(stack: ExitStack) -> None:
    # Until the service listens for them itself, and again when it has ended, both mean Ctrl-C. A
    # closed terminal means it too, unless nohup says otherwise.
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if before[signal.SIGHUP] is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    for number, handler in before.items():
        stack.callback(signal.signal, number, handler)


def _say(line: str) -> None:
    print(line, flush=True)
