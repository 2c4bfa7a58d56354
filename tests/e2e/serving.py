"""`fluxpay serve` as a process of its own, the way a container runs it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import uuid_utils

from fluxpay.core.ids import IdKind, encode
from tests.conftest import Database

ADMIN_TOKEN: Final = "only-for-this-test"
SCOPES: Final = ["payments:write", "payments:read", "refunds:write", "ledger:read"]


@dataclass(frozen=True, slots=True)
class Service:
    """A running service process."""

    process: asyncio.subprocess.Process
    api_url: str
    admin_url: str

    async def kill(self) -> None:
        """End it as a power failure would."""
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """Ask it to end, and give its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()


async def start(
    database: Database,
    redis_url: str,
    *,
    program: Sequence[str] = (sys.executable, "-m", "fluxpay.cli"),
    stderr: int | None = None,
    **variables: str,
) -> Service:
    """Start `fluxpay serve` on free ports, and wait until it says that it listens.

    Args:
        program: The command `fluxpay`, perhaps that of another checkout.
        stderr: The descriptor that its log goes to; ours if none.
    """
    environment = os.environ | {
        "FLUXPAY_DATABASE_URL": database.app_url,
        "FLUXPAY_REDIS_URL": redis_url,
        "FLUXPAY_HOST": "127.0.0.1",
        "FLUXPAY_PORT": "0",
        "FLUXPAY_ADMIN_PORT": "0",
        "FLUXPAY_ADMIN_TOKEN": ADMIN_TOKEN,
        "FLUXPAY_ALLOW_HTTP": "true",
        **variables,
    }
    process = await asyncio.create_subprocess_exec(
        *program,
        "serve",
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
    )
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode().split()
    assert ["API", "on"] == line[:2], line
    return Service(process, api_url=line[2].rstrip(","), admin_url=line[5])


@asynccontextmanager
async def serving(database: Database, redis_url: str, **given: Any) -> AsyncIterator[Service]:
    """A service for the length of a block; killed if the block leaves it running.

    Args:
        given: What `start` takes: variables of the environment, and its own.
    """
    service = await start(database, redis_url, **given)
    try:
        yield service
    finally:
        if service.process.returncode is None:
            await service.kill()


@dataclass(frozen=True, slots=True)
class Customer:
    """A tenant of the service, and the key that it pays with."""

    tenant_id: str
    api_key: str

    @property
    def headers(self) -> dict[str, str]:
        """What each request of the tenant carries."""
        return {"Authorization": f"Bearer {self.api_key}"}


async def enroll(
    service: Service,
    *,
    requests_a_minute: int = 1_000_000,
    currencies: Sequence[str] = ("EUR",),
    payment_limits: Sequence[dict[str, Any]] = (),
) -> Customer:
    """Make a tenant and its key through the admin API."""
    tenant_id = encode(IdKind.TENANT, uuid_utils.uuid7().int)
    spec: dict[str, Any] = {
        "generation": 1,
        "display_name": "Kiosk",
        "environment": "test",
        "state": "active",
        "currencies": list(currencies),
        "rate_limits": [{"name": "default", "requests": requests_a_minute, "window_s": 60}],
        "payment_limits": payment_limits,
    }
    url = f"{service.admin_url}/admin/v1/tenants/{tenant_id}"
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}, raise_for_status=True
    ) as session:
        await (await session.put(url, json=spec)).read()
        async with session.post(f"{url}/keys", json={"name": "till", "scopes": SCOPES}) as answer:
            key = await answer.json()
    return Customer(tenant_id, key["api_key"])
