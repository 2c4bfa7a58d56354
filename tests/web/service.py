"""A whole service on real sockets and real stores, and what talks to it.

`Service` knows where it listens and holds one tenant's key; `RawConnection` speaks bytes, for
requests that no HTTP client would send.
"""

import asyncio
import json
import ssl
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from uuid_utils import uuid7

from fluxpay.core.ids import IdKind, encode
from fluxpay.observability.trace_settings import TraceSettings
from fluxpay.settings import Settings
from fluxpay.web.route import Route
from fluxpay.web.routes import API_ROUTES
from fluxpay.web.server import running

ADMIN_TOKEN = "the-admin-token-of-the-tests"
ALL_SCOPES = (
    "payments:write",
    "payments:read",
    "refunds:write",
    "ledger:read",
    "webhooks:manage",
)
PAYMENT = {"amount": 1250, "currency": "EUR"}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The code of the problem, None when it is none."""
        kind = self.headers.get("Content-Type")
        code: str | None = self.document["code"] if kind == "application/problem+json" else None
        return code


@dataclass(frozen=True, slots=True)
class Service:
    """A running service, with one tenant and its key."""

    api_url: str
    admin_url: str
    settings: Settings
    session: aiohttp.ClientSession
    tenant_id: str = ""
    api_key: str = ""

    async def call(self, method: str, path: str, **options: Any) -> Answer:
        """Send a request to the API port with the tenant's key, unless headers say otherwise."""
        headers = {"Authorization": f"Bearer {self.api_key}"} | options.pop("headers", {})
        return await self._send(method, self.api_url + path, headers, options)

    async def admin(self, method: str, path: str, **options: Any) -> Answer:
        """Send a request to the admin port with the admin token."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"} | options.pop("headers", {})
        return await self._send(method, self.admin_url + path, headers, options)

    async def pay(self, key: str | None = None, body: object = PAYMENT, **headers: str) -> Answer:
        """Post a payment; without a key of the caller's, under a fresh one."""
        wanted = {"Idempotency-Key": key or uuid.uuid4().hex} | headers
        return await self.call("POST", "/v1/payments", json=body, headers=wanted)

    async def for_new_tenant(self, **spec: Any) -> "Service":
        """Register another tenant with a key of all scopes, and see the service as that one."""
        tenant_id = encode(IdKind.TENANT, uuid7().int)
        body = {
            "generation": 1,
            "display_name": "Test tenant",
            "environment": "test",
            "state": "active",
            "currencies": ["EUR", "USD", "JPY"],
        }
        written = await self.admin("PUT", f"/admin/v1/tenants/{tenant_id}", json=body | spec)
        assert 201 == written.status, written.body
        tenant = replace(self, tenant_id=tenant_id)
        return replace(tenant, api_key=await tenant.new_key())

    async def new_key(self, **body: Any) -> str:
        """Make one more key for the tenant."""
        wanted = {"name": "test key", "scopes": list(ALL_SCOPES)} | body
        path = f"/admin/v1/tenants/{self.tenant_id}/keys"
        made = await self.admin("POST", path, json=wanted)
        assert 201 == made.status, made.body
        api_key: str = made.document["api_key"]
        return api_key

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], options: dict[str, Any]
    ) -> Answer:
        async with self.session.request(method, url, headers=headers, **options) as response:
            return Answer(response.status, response.headers, await response.read())


def settings_for(database_url: str, redis_url: str) -> Settings:
    """Settings under which a service takes plain HTTP, on ports of the system's choice."""
    return Settings(
        database_url=database_url,
        redis_url=redis_url,
        port=0,
        admin_port=0,
        admin_token=ADMIN_TOKEN,
        allow_http=True,
        # A test machine may stall for a moment; a Redis that is there must not count as gone.
        redis_timeout_ms=2_000,
    )


@asynccontextmanager
async def started(
    settings: Settings, *, routes: Sequence[Route] = (), traces: TraceSettings | None = None
) -> AsyncIterator[Service]:
    """Run a service with these settings, and further routes on its API port."""
    async with (
        running(settings, traces=traces, api_routes=(*API_ROUTES, *routes)) as listening,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session,
    ):
        service = Service(
            api_url=listening.api_url,
            admin_url=listening.admin_url,
            settings=settings,
            session=session,
        )
        yield service


@dataclass(slots=True)
class RawConnection:
    """A connection on which any bytes can be sent."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    received: list[Answer] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def to(
        cls, url: str, *, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator["RawConnection"]:
        """Connect, and close in the end."""
        place = urlsplit(url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port, ssl=tls)
        try:
            yield cls(reader, writer)
        finally:
            # Not `close`: that waits for a peer which may read no more.
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, within_s: float = 10) -> Answer:
        """Read one answer, interim ones passed over."""
        async with asyncio.timeout(within_s):
            while True:
                answer = await self._read()
                self.received.append(answer)
                if answer.status >= 200:
                    return answer

    async def is_closed(self, *, within_s: float = 10) -> bool:
        """Wait for the other side to close; what it sends before that is dropped."""
        try:
            async with asyncio.timeout(within_s):
                while await self.reader.read(65_536):
                    pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True

    async def _read(self) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.rstrip("\r\n").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        length = int(headers.get("Content-Length", "0"))
        return Answer(int(status_line.split()[1]), headers, await self.reader.readexactly(length))


def request_bytes(
    method: str = "POST",
    path: str = "/v1/payments",
    *,
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    body: bytes = b"",
    length: bool = True,
) -> bytes:
    """Write a request, with a Content-Length unless told otherwise."""
    pairs = [("Host", "test"), *(headers.items() if isinstance(headers, Mapping) else headers)]
    if length:
        pairs.append(("Content-Length", str(len(body))))
    lines = "".join(f"{name}: {value}\r\n" for name, value in pairs)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body
