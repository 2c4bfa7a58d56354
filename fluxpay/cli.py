"""The command line: which commands there are, and what a failure looks like.

Knows: arguments, exit codes (0 done, 1 failed, 2 usage, 3 not yet), and that an expected fault is
one line on stderr.
Must not know: how anything is done. Each command imports what it needs when it runs, so that
`--help` answers at once and `serve` loads nothing that it does not use.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from fluxpay import __version__

if TYPE_CHECKING:
    from datetime import datetime


class _Parser(argparse.ArgumentParser):
    # argparse prints the usage above the error; here an error is one line that says what to do.
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"fluxpay: {message}; run: {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    options = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except KeyboardInterrupt:
        # Ctrl-C before the service has come up is still a clean stop of it.
        interrupted: int = options.interrupted
        return interrupted
    except BrokenPipeError:
        # The reader, `head` say, has seen enough; Python's own flush at exit must not fail too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        from fluxpay import faults

        fault = faults.explain(error, database_variable=options.database_variable)
        if fault is None:
            raise
        print(f"fluxpay: {fault.line}", file=sys.stderr)
        return fault.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fluxpay", description="A multi-tenant payment API with real books.")
    parser.add_argument("--version", action="version", version=f"fluxpay {__version__}")
    parser.set_defaults(database_variable="FLUXPAY_DATABASE_URL", interrupted=1)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    dev = commands.add_parser("dev", help="run a whole service on embedded servers")
    dev.add_argument(
        "--dir",
        type=Path,
        default=Path(".fluxpay"),
        help="where the data stays (default: %(default)s)",
    )
    dev.add_argument("--host", help="the address to listen on (default: 127.0.0.1)")
    dev.add_argument("--port", type=_port, help="the API's port, 0 for a free one (default: 8080)")
    dev.add_argument("--admin-port", type=_port, help="the admin API's port (default: 8081)")
    dev.add_argument("--reset", action="store_true", help="start with empty books")
    dev.set_defaults(command=_dev, interrupted=0)

    serve = commands.add_parser("serve", help="run the API, as the environment says")
    serve.set_defaults(command=_serve, interrupted=0)

    worker = commands.add_parser("worker", help="expire authorizations and seal the ledger")
    worker.set_defaults(command=_worker, interrupted=0)

    health = commands.add_parser("health", help="ask the process here whether it is ready")
    health.add_argument(
        "process", nargs="?", choices=("serve", "worker"), default="serve", help="which one"
    )
    health.set_defaults(command=_health)

    operator = commands.add_parser("operator", help="turn Tenant resources into tenants and keys")
    operator.set_defaults(command=_operator, interrupted=0)

    migrate = commands.add_parser("migrate", help="bring the database schema up to date")
    migrate.add_argument("--check", action="store_true", help="apply nothing; exit 3 while behind")
    migrate.set_defaults(command=_migrate, database_variable="FLUXPAY_OWNER_DATABASE_URL")

    verify = commands.add_parser("verify", help="prove the books")
    verify.add_argument("--tenant", metavar="ID", help="prove this tenant's alone")
    verify.add_argument("--json", action="store_true", help="print JSON, with each last seal")
    verify.add_argument(
        "--expect-head",
        type=Path,
        metavar="FILE",
        help="what --json printed before: its seals must still stand",
    )
    verify.set_defaults(command=_verify)

    export = commands.add_parser("export", help="write entries or balances to a file")
    export.add_argument("what", choices=("entries", "balances"), help="what to write")
    export.add_argument("--tenant", metavar="ID", required=True, help="whose")
    export.add_argument("--from", metavar="T", dest="since", type=_instant, help="from here on")
    export.add_argument("--to", metavar="T", dest="until", type=_instant, help="before this")
    export.add_argument("--format", choices=("csv", "jsonl"), required=True, help="how")
    export.add_argument("--output", type=Path, metavar="FILE", help="where to (default: stdout)")
    export.set_defaults(command=_export)

    openapi = commands.add_parser("openapi", help="print the OpenAPI document")
    openapi.set_defaults(command=_openapi)
    return parser


def _port(text: str) -> int:
    port_max = 65_535
    if text.isascii() and text.isdecimal() and int(text[:6]) <= port_max:
        return int(text)
    message = f"{text!r} is no port; write a number from 0 to {port_max}"
    raise argparse.ArgumentTypeError(message)


def _instant(text: str) -> "datetime":
    from fluxpay.export import read_instant

    try:
        return read_instant(text)
    except (ValueError, OverflowError):
        # The first and the last day of the calendar have instants that UTC has no date for.
        message = f"{text!r} is no instant; write 2026-01-31 or 2026-01-31T12:00:00Z"
        raise argparse.ArgumentTypeError(message) from None


def _dev(options: argparse.Namespace) -> int:
    from fluxpay.dev import DevOptions, run

    run(
        DevOptions(
            directory=options.dir,
            host=options.host,
            port=options.port,
            admin_port=options.admin_port,
            reset=options.reset,
        ),
        os.environ,
    )
    return 0


def _serve(_: argparse.Namespace) -> int:
    from fluxpay.observability.trace_settings import TraceSettings
    from fluxpay.settings import Settings

    # Before the rest is imported: a bad value is told at once.
    settings = Settings.from_environment(os.environ)
    traces = TraceSettings.from_environment(os.environ, service="fluxpay-api")

    import asyncio

    import uvloop

    from fluxpay.web.server import Listening, run

    def announce(listening: Listening) -> None:
        print(f"API on {listening.api_url}, admin on {listening.admin_url}", flush=True)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(settings, traces=traces, on_ready=announce))
    return 0


def _worker(_: argparse.Namespace) -> int:
    from fluxpay.observability.trace_settings import TraceSettings
    from fluxpay.settings import WorkerSettings

    # Before the rest is imported: a bad value is told at once.
    settings = WorkerSettings.from_environment(os.environ)
    traces = TraceSettings.from_environment(os.environ, service="fluxpay-worker")

    import asyncio

    import uvloop

    from fluxpay.worker.process import run

    def announce(url: str) -> None:
        work = "expiring authorizations, sealing the ledger, proving the books"
        print(f"Working: {work}; probes on {url}", flush=True)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(settings, traces=traces, on_ready=announce))
    return 0


def _health(options: argparse.Namespace) -> int:
    from fluxpay.probe import Listener, NotReady, ask

    is_worker = options.process == "worker"
    listener_of = Listener.of_worker if is_worker else Listener.of_service
    try:
        ask(listener_of(os.environ))
    except NotReady as error:
        print(f"fluxpay: {error}; see the log of: fluxpay {options.process}", file=sys.stderr)
        return 1
    print("ready")
    return 0


def _operator(_: argparse.Namespace) -> int:
    from fluxpay.observability.trace_settings import TraceSettings
    from fluxpay.settings import OperatorSettings

    # Before the rest is imported: a bad value is told at once.
    settings = OperatorSettings.from_environment(os.environ)
    traces = TraceSettings.from_environment(os.environ, service="fluxpay-operator")

    import asyncio

    import uvloop

    try:
        from fluxpay_operator.process import run
    except ModuleNotFoundError as error:
        print(f"fluxpay: {error}; install fluxpay[operator]", file=sys.stderr)
        return 1

    def announce(url: str) -> None:
        print(f"Watching tenants, probes on {url}", flush=True)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(settings, traces=traces, on_ready=announce))
    return 0


def _migrate(options: argparse.Namespace) -> int:
    from fluxpay import settings

    if options.check:
        return _migrate_check(options)
    url = settings.owner_database_url(os.environ)

    from fluxpay.stores.migrations import migrate

    applied = migrate(url, report=lambda line: print(line, flush=True))
    print(f"applied {len(applied)}" if applied else "up to date")
    return 0


def _migrate_check(options: argparse.Namespace) -> int:
    from fluxpay.faults import MIGRATE, NOT_YET
    from fluxpay.stores.migrations import pending

    # A pod that only waits for the schema need not hold the owner's password.
    behind = pending(_reading_url(options))
    if not behind:
        print("up to date")
        return 0
    print(f"fluxpay: not applied yet: {', '.join(behind)}; {MIGRATE}", file=sys.stderr)
    return NOT_YET


def _verify(options: argparse.Namespace) -> int:
    from fluxpay import verify

    try:
        expected = verify.read_heads(options.expect_head) if options.expect_head else {}
        verified = verify.verify(
            _reading_url(options),
            tenant_id=options.tenant,
            expected=expected,
            progress=verify.Progress(sys.stderr),
        )
        return 0 if verify.report(verified, sys.stdout, as_json=options.json) else 1
    except (verify.UnknownTenant, verify.UnreadableHeads) as error:
        print(f"fluxpay: {error}", file=sys.stderr)
        return 1


def _export(options: argparse.Namespace) -> int:
    from fluxpay import export

    order = export.Order(
        what=export.What(options.what),
        tenant_id=options.tenant,
        since=options.since,
        until=options.until,
        format=export.Format(options.format),
    )
    try:
        if options.output is None:
            export.export(_reading_url(options), order, sys.stdout)
        else:
            with export.opened(options.output) as file:
                export.export(_reading_url(options), order, file)
        return 0
    except (export.UnknownTenant, export.Contradiction) as error:
        print(f"fluxpay: {error}", file=sys.stderr)
        return 2 if isinstance(error, export.Contradiction) else 1


def _reading_url(options: argparse.Namespace) -> str:
    from fluxpay import settings

    # Whoever may migrate may read; but no command that reads needs the owner's password.
    database_url, owner_url, _ = settings.database_urls(os.environ)
    if owner_url is not None or database_url is not None:
        # What is wrong with a URL is told of the variable that it came from.
        which = "DATABASE_URL" if owner_url is None else "OWNER_DATABASE_URL"
        options.database_variable = f"FLUXPAY_{which}"
    is_owners = options.command is _migrate
    required = settings.owner_database_url if is_owners else settings.database_url
    return owner_url or database_url or required(os.environ)


def _openapi(_: argparse.Namespace) -> int:
    import json

    from fluxpay.web.openapi import document

    print(json.dumps(document(), indent=2, ensure_ascii=False), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
