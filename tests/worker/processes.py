"""`fluxpay worker` as a process of its own, the way a container runs it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.conftest import Database

READY = "Working: expiring authorizations, sealing the ledger, proving the books; probes on "


@dataclass(frozen=True, slots=True)
class Worker:
    """A running worker, and where its probes and metrics answer."""

    process: asyncio.subprocess.Process
    url: str


async def start(database: Database, *, stderr: int | None = None, **variables: str) -> Worker:
    """Start a worker that is told little but its database, and wait until it says it works.

    Args:
        stderr: The descriptor that its log goes to; ours if none.
    """
    clean = {name: text for name, text in os.environ.items() if not name.startswith("FLUXPAY_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "fluxpay.cli",
        "worker",
        env={
            **clean,
            "FLUXPAY_DATABASE_URL": database.app_url,
            "FLUXPAY_WORKER_PORT": "0",
            **variables,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
    )
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    assert READY == line[: len(READY)]
    return Worker(process, line.removeprefix(READY).strip())


@asynccontextmanager
async def working(
    database: Database, *, stderr: int | None = None, **variables: str
) -> AsyncIterator[Worker]:
    """A worker for the length of a block; killed if the block leaves it running."""
    worker = await start(database, stderr=stderr, **variables)
    try:
        yield worker
    finally:
        if worker.process.returncode is None:
            await kill(worker)


async def kill(worker: Worker) -> None:
    """End it as a power failure would."""
    worker.process.kill()
    await worker.process.wait()


async def stop(worker: Worker) -> int:
    """Ask it to end, and give its exit code."""
    worker.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        return await worker.process.wait()
