"""Which processes live in a folder: the way to see that no server was left behind."""

import time
from pathlib import Path

PATIENCE_S = 15


def pids_below(directory: Path) -> list[int]:
    """Every process whose working directory lies in the folder: all of Postgres and Valkey."""
    pids = []
    for entry in Path("/proc").iterdir():
        try:
            if (entry / "cwd").readlink().is_relative_to(directory):
                pids.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return pids


def await_nobody_below(directory: Path) -> list[int]:
    """Wait for the folder to be left, and say who did not leave it."""
    deadline_s = time.monotonic() + PATIENCE_S
    while (pids := pids_below(directory)) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    return pids
