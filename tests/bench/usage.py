"""What processes have used: CPU time and memory, read from /proc.

Knows: that Linux adds the time of a child that has ended to its parent's, once that one has waited
for it. So the sum over a tree misses nothing: neither a Postgres backend that lives, nor one that
has ended. Must not know which processes are which.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
_KIB: Final = 1024


def cpu_s(roots: Iterable[int]) -> float:
    """CPU seconds that these processes and all their descendants have used so far."""
    stats = _all_stats()
    children: dict[int, list[int]] = defaultdict(list)
    for pid, fields in stats.items():
        children[int(fields[1])].append(pid)
    pending, ticks = list(roots), 0
    while pending:
        pid = pending.pop()
        if pid in stats:
            # utime, stime, and the same of the children that were waited for.
            ticks += sum(int(field) for field in stats[pid][11:15])
            pending += children[pid]
    return ticks / _TICKS_A_SECOND


def rss_bytes(pid: int) -> int:
    """Memory that this process holds at the moment."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * _KIB
    raise ProcessLookupError(f"process {pid} has ended")


def _all_stats() -> dict[int, list[str]]:
    stats: dict[int, list[str]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            try:
                text = Path(f"/proc/{entry.name}/stat").read_text(encoding="utf-8")
            except OSError:
                continue  # It has ended meanwhile; its time is its parent's now.
            # The name of the program stands in brackets, and may hold brackets and blanks.
            stats[int(entry.name)] = text.rpartition(")")[2].split()
    return stats
