"""A real Valkey in one folder, on a unix socket, with its append-only file on.

Knows: how Valkey is configured and asked whether it is ready.
Must not know: what is kept in it.
"""

import signal
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from fluxpay.embedded import places, process
from fluxpay.embedded.process import Launch

SOCKET: Final = "valkey.sock"
ANSWER_TIMEOUT_S: Final = 1.0
SETTINGS: Final = {
    "port": "0",
    "unixsocketperm": "700",
    "appendonly": "yes",
    "appendfsync": "everysec",
    # The append-only file is the copy on disk; snapshots beside it would only cost.
    "save": "",
    "daemonize": "no",
    "maxmemory-policy": "noeviction",
}
STOP: Final = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))


@dataclass(frozen=True, slots=True)
class EmbeddedValkey:
    """A running server; `directory` holds `valkey/`, `valkey.log` and, if it is short, `run/`."""

    directory: Path
    socket_path: Path
    server: subprocess.Popen[bytes]

    @staticmethod
    def start(
        directory: Path, *, settings: Mapping[str, str] = MappingProxyType({})
    ) -> "EmbeddedValkey":
        """Start the server of this folder and wait until it has loaded its data.

        Args:
            settings: Instead of, or beside, those of `fluxpay dev`.

        Raises: EmbeddedFailed with the last words of its log.
        """
        directory = places.private_folder(directory.absolute())
        data = places.private_folder(directory / "valkey")
        process.await_alone(data)
        socket_path = places.socket_folder(directory) / SOCKET
        command = [str(places.valkey_program()), "--dir", str(data)]
        command += ["--unixsocket", str(socket_path)]
        for name, value in {**SETTINGS, **settings}.items():
            command += [f"--{name}", value]
        launch = Launch(
            command=command, directory=data, log=directory / "valkey.log", death_signal="KILL"
        )
        running = EmbeddedValkey(directory, socket_path, process.start(launch))
        process.await_ready(running.server, launch, running._answers)
        return running

    @property
    def url(self) -> str:
        """The URL that Redis clients take."""
        return f"unix://{quote(str(self.socket_path))}"

    def stop(self) -> None:
        """Shut down with the append-only file written out. Twice does no harm."""
        process.stop(self.server, STOP)
        # A killed server leaves its socket, and with it the short folder could not be removed.
        self.socket_path.unlink(missing_ok=True)
        places.forget_socket_folder(self.directory)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            try:
                connection.connect(str(self.socket_path))
                connection.sendall(b"PING\r\n")
                # While it loads its data the answer is -LOADING.
                return connection.recv(16).startswith(b"+PONG")
            except OSError:
                return False
