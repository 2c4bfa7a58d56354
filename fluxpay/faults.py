"""What can go wrong around a command through nobody's bug, as one line and an exit code.

Knows: the expected faults of every command, what a person does about each, and the exit codes:
1 failed, 2 usage, 3 not yet.
Must not know: how the commands work. It is imported only once something has failed, so that
commands start without it.
"""

import errno
import socket
import ssl
from dataclasses import dataclass
from typing import Final

import psycopg2

from fluxpay.demo import DemoFailed
from fluxpay.embedded.lock import DirectoryInUse
from fluxpay.embedded.process import EmbeddedFailed
from fluxpay.settings import BadSetting
from fluxpay.stores.dialling import UnreadableDsn
from fluxpay.stores.migrations import MigrationFailed
from fluxpay.stores.problems import SchemaBehind, StoreError
from fluxpay.stores.redis_client import UnreadableRedisUrl

FAILED: Final = 1
USAGE: Final = 2
NOT_YET: Final = 3
MIGRATE: Final = "run: fluxpay migrate"


@dataclass(frozen=True, slots=True)
class Fault:
    """One line for stderr, and the code to exit with."""

    line: str
    exit_code: int


def explain(error: Exception, *, database_variable: str) -> Fault | None:
    """Say what an expected fault means, or None when the error is a bug and wants its traceback.

    Args:
        database_variable: where the command found its database URL.
    """
    match error:
        case BadSetting():
            return Fault(_one_line(error), USAGE)
        case UnreadableDsn():
            return _unreadable_url(database_variable)
        case UnreadableRedisUrl():
            return Fault("FLUXPAY_REDIS_URL cannot be read; check its parameters", USAGE)
        case SchemaBehind():
            return Fault(f"the database schema is behind: {_one_line(error)}; {MIGRATE}", NOT_YET)
        case StoreError() | psycopg2.Error():
            return _database_fault(error, database_variable)
        case DirectoryInUse():
            line = f"{_one_line(error)}; stop that one, or choose another folder with --dir"
            return Fault(line, FAILED)
        case EmbeddedFailed() | DemoFailed() | MigrationFailed():
            return Fault(_one_line(error), FAILED)
        case OSError():
            return _system_fault(error)
        case _:
            return None


def _database_fault(error: Exception, variable: str) -> Fault:
    if isinstance(error, psycopg2.ProgrammingError) and error.pgcode is None:
        return _unreadable_url(variable)
    line = f"the database failed us: {_one_line(error)}; check {variable} and the server"
    return Fault(line, FAILED)


def _unreadable_url(variable: str) -> Fault:
    # libpq quotes the part of the URL that it could not read, which may be the password.
    return Fault(f"{variable} cannot be read as a database URL; check its parameters", USAGE)


def _system_fault(error: OSError) -> Fault:
    if isinstance(error, ssl.SSLError):
        return Fault(
            "FLUXPAY_TLS_CERT_FILE and FLUXPAY_TLS_KEY_FILE do not hold a certificate in PEM and "
            f"its key ({error.reason or 'unreadable'}); check both",
            USAGE,
        )
    if isinstance(error, socket.gaierror):
        return Fault(
            "FLUXPAY_HOST, FLUXPAY_ADMIN_HOST or FLUXPAY_WORKER_HOST is no address of this "
            "machine; set it to one, such as 127.0.0.1 (in dev: --host)",
            USAGE,
        )
    advice = {
        errno.EADDRINUSE: "stop its user, or set FLUXPAY_PORT, FLUXPAY_ADMIN_PORT, "
        "FLUXPAY_WORKER_PORT or FLUXPAY_OPERATOR_PORT (in dev: --port, --admin-port)",
        errno.EADDRNOTAVAIL: "set FLUXPAY_HOST to an address of this machine",
        errno.ENOSPC: "make room on the disk",
        # A folder was to be made here.
        errno.EEXIST: "it is no folder; choose another one",
        errno.ENOTDIR: "choose another folder",
    }.get(error.errno or 0, "check that it exists and that this user may use it")
    return Fault(f"{_one_line(error)}; {advice}", FAILED)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        # Without "[Errno 98]", and without the second name that rename and link add.
        named = f"{error.filename}: " if error.filename else ""
        return f"{named}{error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
