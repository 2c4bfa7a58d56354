"""A server as a child process: started through the launcher, awaited, stopped, never left behind.

Knows: processes, signals, log files and /proc.
Must not know: Postgres or Valkey; each says in its own module how it is started and asked.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from fluxpay.embedded import launcher

READY_TIMEOUT_S: Final = 60.0
ALONE_TIMEOUT_S: Final = 10.0
POLL_S: Final = 0.01
LOG_BYTES_MAX: Final = 16_777_216
LOG_LINES_SHOWN: Final = 5
# Nothing of the caller's environment reaches a server: PGDATA, PGOPTIONS, LC_ALL and TZ all would
# change what it does.
ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


class EmbeddedFailed(Exception):
    """An embedded server could not be started; the text is one line with the server's own words."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How one program is started.

    Args:
        directory: the server's own folder, mode 0700, which is also its working directory.
        death_signal: QUIT or KILL; what the kernel sends it when this process dies.
    """

    command: Sequence[str]
    directory: Path
    log: Path
    death_signal: str
    not_root: bool = False


def start(launch: Launch) -> subprocess.Popen[bytes]:
    """Start the program as a child that dies with this process.

    Raises: EmbeddedFailed off the main thread, because the child dies with the starting thread.
    """
    if threading.current_thread() is not threading.main_thread():
        message = "embedded servers are started from the main thread, whose end would stop them"
        raise EmbeddedFailed(message)
    command = [sys.executable, "-I", "-S", launcher.__file__]
    command += ["--parent", str(os.getpid()), "--signal", launch.death_signal]
    command += ["--directory", str(launch.directory)]
    command += ["--not-root"] if launch.not_root else []
    command += ["--", *launch.command]
    with _opened_log(launch.log) as log:
        return subprocess.Popen(
            command,
            cwd=launch.directory,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # A Ctrl-C on the terminal is for the service, which stops its servers when it is done.
            start_new_session=True,
            umask=0o077,
        )


def run(launch: Launch) -> None:
    """Run a program to its end.

    Raises: EmbeddedFailed when it fails.
    """
    process = start(launch)
    try:
        code = process.wait(timeout=READY_TIMEOUT_S)
    except BaseException:
        process.kill()
        process.wait()
        raise
    if code != 0:
        raise EmbeddedFailed(_failure(launch, f"ended with code {code}"))


def await_ready(
    process: subprocess.Popen[bytes], launch: Launch, is_ready: Callable[[], bool]
) -> None:
    """Ask the server itself until it answers.

    Raises: EmbeddedFailed when it ends or stays silent too long; it is then stopped.
    """
    try:
        _poll_until_ready(process, launch, is_ready)
    except BaseException:
        stop(process, ((signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)))
        raise


def stop(process: subprocess.Popen[bytes], steps: Sequence[tuple[signal.Signals, float]]) -> None:
    """Send one signal after the other, each with its patience in seconds, until it has ended."""
    for step, patience_s in steps:
        if process.poll() is not None:
            return
        process.send_signal(step)
        try:
            process.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            continue


def await_alone(directory: Path) -> None:
    """Wait for the servers of an earlier process that was killed: they may still be dying.

    A server's working directory is its folder, and so tells it from a stranger who was given the
    same pid since, as happens in every container that restarts.

    Raises: EmbeddedFailed when one stays.
    """
    deadline_s = time.monotonic() + ALONE_TIMEOUT_S
    while pids := _pids_in(directory):
        if time.monotonic() > deadline_s:
            message = f"{directory} is in use by process {pids[0]}; stop it"
            raise EmbeddedFailed(message)
        time.sleep(POLL_S)


def _poll_until_ready(
    process: subprocess.Popen[bytes], launch: Launch, is_ready: Callable[[], bool]
) -> None:
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while not is_ready():
        if process.poll() is not None:
            raise EmbeddedFailed(_failure(launch, f"ended with code {process.returncode}"))
        if time.monotonic() > deadline_s:
            raise EmbeddedFailed(_failure(launch, f"was silent for {READY_TIMEOUT_S:.0f} s"))
        time.sleep(POLL_S)


def _pids_in(directory: Path) -> list[int]:
    wanted = directory.resolve()
    pids = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal():
            continue
        try:
            working_directory = Path(f"/proc/{entry.name}/cwd").readlink()
        except OSError:
            # It ended meanwhile, or belongs to somebody else, whose server could not use our
            # private folder.
            continue
        if working_directory == wanted:
            pids.append(int(entry.name))
    return pids


def _opened_log(path: Path) -> BinaryIO:
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        path.replace(path.with_name(f"{path.name}.1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "ab")


def _failure(launch: Launch, what: str) -> str:
    # The whole message is one line, so that the command line can print it as it is.
    lines = launch.log.read_text(errors="replace").strip().splitlines()[-LOG_LINES_SHOWN:]
    words = " | ".join(line.strip() for line in lines) or "nothing"
    return f"{Path(launch.command[0]).name} {what}; {launch.log} says: {words}"
