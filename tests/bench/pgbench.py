"""Bare SQL: the rows that a payment commits, written by pgbench into the service's own schema.

It writes as the role that the service's own function runs as, under that role's policies. It does
so over a unix socket, without HTTP, makes no ids and no JSON, and asks neither Redis nor who is
calling: everything that differs is in its favour.
"""

import asyncio
import json
import os
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
_ROLE: Final = {"PGOPTIONS": "-c role=fluxpay_writer"}
_DOCUMENT: Final = {
    "id": "pay_01m82vg9s4ezka7k9xavmdesq4",
    "object": "payment",
    "amount": 1250,
    "currency": "EUR",
    "status": "captured",
    "amount_captured": 1250,
    "amount_refunded": 0,
    "capture": "automatic",
    "description": None,
    "reference": "order-7",
    "metadata": {},
    "created_at": "2026-11-23T00:04:44.452Z",
    "expires_at": None,
}
_PAYMENT: Final = {
    "body": json.dumps(_DOCUMENT, separators=(",", ":")),
    "fingerprint": "\\x" + "0123456789abcdef" * 4,
    "metadata": "{}",
    "reference": "order-7",
    "currency": "EUR",
    "status": "captured",
    "capture": "automatic",
    "amount": "1250",
    "created_at": "2026-11-23T00:04:44.452Z",
    "location": "/v1/payments/pay_01m82vg9s4ezka7k9xavmdesq4",
    "event": "payment.captured",
    "kind": "capture",
    "code": "201",
}
"""The parameters of each transaction, by the names that `same_rows.sql` gives them."""


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
    for name, value in {"base": str(base), "n": "0", **_PAYMENT}.items():
        command += ["-D", f"{name}={value}"]
    command += ["-f", str(_HERE / script.file)]
    before_s, own_before_s = usage.cpu_s([server_pid]), _children_s()
    process = await asyncio.create_subprocess_exec(
        *command, url, stdout=asyncio.subprocess.PIPE, env=os.environ | _ROLE
    )
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
