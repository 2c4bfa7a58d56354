"""One folder, one user of it: an advisory lock on `DIR/lock`.

Knows: flock(2). The kernel drops the lock when its holder dies, however it dies, so that there is
no stale lock to clean up; the pid inside the file only serves the error line.
Must not know: what the folder holds.
"""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOCK_FILE: Final = "lock"


class DirectoryInUse(Exception):
    """Another process holds the folder."""

    def __init__(self, directory: Path, pid: int | None) -> None:
        holder = f"process {pid}" if pid is not None else "another process"
        super().__init__(f"{directory} is in use by {holder}")
        self.directory = directory
        self.pid = pid


@dataclass(frozen=True, slots=True)
class DirectoryLock:
    """The held lock; letting go of it is closing its file."""

    descriptor: int

    @staticmethod
    def take(directory: Path) -> "DirectoryLock":
        """Lock the folder, without waiting.

        Raises: DirectoryInUse when it is locked, also by this very process.
        """
        # The file is never unlinked: a third process could then lock a file without a name while
        # a fourth one locks its successor.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(directory / LOCK_FILE, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20)
            os.close(descriptor)
            raise DirectoryInUse(directory, int(holder) if holder.isdigit() else None) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        return DirectoryLock(descriptor)

    def release(self) -> None:
        """Let the next one in."""
        os.close(self.descriptor)
