"""`fluxpay worker` as a process of its own, the way a container runs it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.conftest import Database

READY = "Working: expiring authorizations, sealing the ledger, proving the books; probes on http://"


async def start(database: Database, **variables: str) -> asyncio.subprocess.Process:
    """Start a worker that is told nothing but its database, and wait until it says it works."""
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
    )
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    assert READY == line[: len(READY)]
    return process


@asynccontextmanager
async def working(
    database: Database, **variables: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker for the length of a block; killed if the block leaves it running."""
    process = await start(database, **variables)
    try:
        yield process
    finally:
        if process.returncode is None:
            await kill(process)


async def kill(process: asyncio.subprocess.Process) -> None:
    """End it as a power failure would."""
    process.kill()
    await process.wait()


async def stop(process: asyncio.subprocess.Process) -> int:
    """Ask it to end, and give its exit code."""
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        return await process.wait()
