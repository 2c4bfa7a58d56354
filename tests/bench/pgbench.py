"""Bare SQL: the rows that a payment commits, written by pgbench into the service's own schema.

It connects as the owner, whom row-level security does not bind here, over a unix socket, without
HTTP, and asks neither Redis nor who is calling: everything that differs is in its favour.
"""

import asyncio
import re
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fluxpay.embedded.places import postgres_program
from tests.bench import usage
from tests.bench.measures import Seen

_HERE: Final = Path(__file__).parent
_RATE: Final = re.compile(r"tps = ([0-9.]+)")
_DONE: Final = re.compile(r"transactions actually processed: (\d+)")
_THREADS_MAX: Final = 2


@dataclass(frozen=True, slots=True)
class Script:
    """What one transaction of pgbench does.

    Args:
        payments: how many payments it commits.
    """

    file: str
    payments: int


ONE: Final = Script("same_rows.sql", 1)
BATCH: Final = Script("same_rows_64.sql", 64)


async def run(script: Script, url: str, *, server_pid: int, clients: int, seconds: float) -> Seen:
    """Let so many clients commit as fast as they can.

    Args:
        url: of the owner.
        server_pid: the process whose descendants serve it.
    """
    # Microseconds since the epoch: every run begins above where the one before has ended.
    base = time.time_ns() // 1000
    command = [str(postgres_program("pgbench")), "-n", "-M", "prepared", "-c", str(clients)]
    command += ["-j", str(min(clients, _THREADS_MAX)), "-T", str(max(1, round(seconds)))]
    command += ["-D", f"base={base}", "-D", "n=0", "-f", str(_HERE / script.file)]
    before_s, own_before_s = usage.cpu_s([server_pid]), _children_s()
    process = await asyncio.create_subprocess_exec(*command, url, stdout=asyncio.subprocess.PIPE)
    said = (await process.communicate())[0].decode()
    rate, done = _RATE.search(said), _DONE.search(said)
    if process.returncode != 0 or rate is None or done is None:
        raise SystemExit(f"bench: pgbench ended with {process.returncode} and said {said}")
    payments = int(done[1]) * script.payments
    return Seen(
        rate=float(rate[1]) * script.payments,
        cpu_us={
            "postgres": 1e6 * (usage.cpu_s([server_pid]) - before_s) / payments,
            "load": 1e6 * (_children_s() - own_before_s) / payments,
        },
        batch=float(script.payments),
    )


def _children_s() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime
