"""The way out: what got through is answered, nothing new gets in, and it ends in time."""

import asyncio
import json
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from socket import AF_INET, SOCK_STREAM, socket
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from fluxpay.settings import Settings
from fluxpay.stores.problems import StoreUnavailable
from fluxpay.web.route import Route
from fluxpay.web.server import Listening, running
from tests.web.service import PAYMENT, RawConnection, Service, request_bytes, started

ROOT = Path(__file__).parents[2]


class Held:
    """A route that answers when the test lets it."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.released = asyncio.Event()

    def route(self) -> Route:
        return Route("GET", "/test/held", self.handle)

    async def handle(self, _: web.Request) -> web.Response:
        self.entered.set()
        await self.released.wait()
        return web.Response(body=b"done")


class Ending:
    """A service that the test tells to end."""

    def __init__(self, service: Service, stack: AsyncExitStack) -> None:
        self.service = service
        self._stack = stack
        self.ended: asyncio.Task[None] | None = None

    def begin(self) -> "asyncio.Task[None]":
        self.ended = asyncio.create_task(self._stack.aclose())
        return self.ended


@asynccontextmanager
async def ending(settings: Settings, routes: Sequence[Route] = ()) -> AsyncIterator[Ending]:
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(started(settings, routes=routes))
        yield Ending(await service.for_new_tenant(), stack)


async def test_a_request_under_way_is_answered_and_its_connection_closed(
    settings: Settings,
) -> None:
    held = Held()
    async with ending(settings, [held.route()]) as service:
        url = service.service.api_url
        async with RawConnection.to(url) as connection:
            await connection.send(request_bytes("GET", "/test/held"))
            await held.entered.wait()
            ended = service.begin()
            await asyncio.sleep(0.1)
            # Nobody new gets in, and the admin port says why.
            with pytest.raises(ConnectionRefusedError):
                async with RawConnection.to(url):
                    pass
            async with RawConnection.to(service.service.admin_url) as probe:
                await probe.send(request_bytes("GET", "/health/ready"))
                answer = await probe.answer()
            assert (503, "draining") == (answer.status, answer.document["status"])
            assert not ended.done()
            held.released.set()
            answer = await connection.answer()
            assert (200, b"done") == (answer.status, answer.body)
            assert "close" == answer.headers["Connection"]
            assert await connection.is_closed()
        async with asyncio.timeout(10):
            await ended


async def test_a_request_on_a_connection_believed_open_is_still_answered(
    settings: Settings,
) -> None:
    async with ending(settings) as service:
        async with RawConnection.to(service.service.api_url) as connection:
            await connection.send(request_bytes("GET", "/health/live"))
            assert "Connection" not in (await connection.answer()).headers
            ended = service.begin()
            await asyncio.sleep(0.1)
            await connection.send(request_bytes("GET", "/health/live"))
            answer = await connection.answer()
            assert (200, "close") == (answer.status, answer.headers["Connection"])
        async with asyncio.timeout(10):
            await ended


async def test_clients_whom_the_kernel_let_in_are_served(settings: Settings) -> None:
    async with ending(settings) as service:
        place = urlsplit(service.service.api_url)
        with ExitStack() as opened:
            clients = [opened.enter_context(socket(AF_INET, SOCK_STREAM)) for _ in range(100)]
            for client in clients:
                # No turn of the loop lies between: the service has seen none of them yet.
                client.connect((place.hostname, place.port))
                client.sendall(request_bytes("GET", "/health/live"))
            async with asyncio.timeout(10):
                await service.begin()
            answers = [client.recv(65_536) for client in clients]
    assert [b"HTTP/1.1 200 OK"] * 100 == [answer[:15] for answer in answers]


async def test_idle_connections_do_not_hold_up_the_end(settings: Settings) -> None:
    async with (
        ending(replace(settings, shutdown_timeout_s=60)) as service,
        RawConnection.to(service.service.api_url) as idle,
        RawConnection.to(service.service.admin_url) as silent,
    ):
        await idle.send(request_bytes("GET", "/health/live"))
        await idle.answer()
        async with asyncio.timeout(10):
            await service.begin()
        assert await idle.is_closed()
        assert await silent.is_closed()


async def test_a_handler_that_never_ends_is_given_up(settings: Settings) -> None:
    held = Held()
    wanted = replace(settings, shutdown_timeout_s=1, request_timeout_s=60)
    async with (
        ending(wanted, [held.route()]) as service,
        RawConnection.to(service.service.api_url) as connection,
    ):
        await connection.send(request_bytes("GET", "/test/held"))
        await held.entered.wait()
        async with asyncio.timeout(10):
            await service.begin()
        assert await connection.is_closed()


async def test_under_load_every_request_that_was_sent_is_answered(settings: Settings) -> None:
    acknowledged: set[str] = set()
    underway = asyncio.Event()

    async def client(service: Service) -> None:
        body = json.dumps(PAYMENT).encode()
        async with RawConnection.to(service.api_url) as connection:
            while True:
                headers = {
                    "Authorization": f"Bearer {service.api_key}",
                    "Idempotency-Key": uuid.uuid4().hex,
                    "Content-Type": "application/json",
                }
                await connection.send(request_bytes(headers=headers, body=body))
                answer = await connection.answer()
                assert 201 == answer.status, answer.body
                acknowledged.add(answer.document["id"])
                if len(acknowledged) > 100:
                    underway.set()
                if "Connection" in answer.headers:
                    return

    async with ending(settings) as service:
        clients = [asyncio.create_task(client(service.service)) for _ in range(16)]
        await underway.wait()
        async with asyncio.timeout(20):
            await service.begin()
            await asyncio.gather(*clients)
    seen: set[str] = set()
    async with started(settings) as again:
        query = "/v1/payments?limit=100"
        tenant = replace(
            again, tenant_id=service.service.tenant_id, api_key=service.service.api_key
        )
        while query:
            page = (await tenant.call("GET", query)).document
            seen |= {payment["id"] for payment in page["data"]}
            cursor = page["next_cursor"]
            query = f"/v1/payments?limit=100&cursor={cursor}" if cursor else ""
    assert set() == acknowledged - seen


@pytest.fixture
def process_settings(settings: Settings) -> list[str]:
    """The command line of a service of its own."""
    return [sys.executable, "-m", "tests.web.serving", settings.database_url, settings.redis_url]


async def launched(command: list[str]) -> tuple[asyncio.subprocess.Process, Listening]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        line = (await process.stdout.readline()).decode()
    return process, Listening(*line.split())


async def rest_of(process: asyncio.subprocess.Process) -> tuple[int, bytes]:
    async with asyncio.timeout(30):
        told, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_the_process(
    settings: Settings, process_settings: list[str], number: signal.Signals
) -> None:
    async with started(settings) as other:
        tenant = await other.for_new_tenant()
    process, listening = await launched([*process_settings, "10"])
    body = json.dumps(PAYMENT).encode()
    headers = {
        "Authorization": f"Bearer {tenant.api_key}",
        "Idempotency-Key": "k",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    }
    async with RawConnection.to(listening.api_url) as connection:
        await connection.send(request_bytes(headers=headers, length=False) + body[:5])
        await asyncio.sleep(0.2)
        process.send_signal(number)
        await asyncio.sleep(0.2)
        await connection.send(body[5:])
        answer = await connection.answer()
        assert (201, "close") == (answer.status, answer.headers["Connection"])
    assert (0, b"ended\n") == await rest_of(process)


async def test_a_second_signal_ends_the_process_at_once(process_settings: list[str]) -> None:
    process, listening = await launched([*process_settings, "300"])
    async with RawConnection.to(listening.api_url) as connection:
        # A request that never ends holds the first signal up.
        await connection.send(b"GET /health/live HTTP/1.1\r\nHost: test\r\n")
        await asyncio.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        assert process.returncode is None
        process.send_signal(signal.SIGTERM)
        assert (128 + signal.SIGTERM, b"") == await rest_of(process)


async def test_a_taken_port_is_named(settings: Settings) -> None:
    async with running(settings) as first:
        api, admin = [urlsplit(url).port or 0 for url in (first.api_url, first.admin_url)]
        for port, wanted in [
            (api, replace(settings, port=api)),
            (admin, replace(settings, admin_port=admin)),
        ]:
            with pytest.raises(OSError, match=f"127.0.0.1 port {port}") as refused:
                async with running(wanted, share_port=True):
                    pass
            assert "\n" not in str(refused.value)


async def test_processes_may_share_the_api_port_and_only_that(settings: Settings) -> None:
    async with running(settings, share_port=True) as first:
        shared = replace(settings, port=urlsplit(first.api_url).port or 0)
        async with running(shared, share_port=True) as second:
            assert first.api_url == second.api_url
            assert first.admin_url != second.admin_url
        # Whoever does not share is refused, and so is a second one with the same admin port.
        with pytest.raises(OSError, match="port"):
            async with running(shared):
                pass
        same = replace(shared, admin_port=urlsplit(first.admin_url).port or 0)
        with pytest.raises(OSError, match="port"):
            async with running(same, share_port=True):
                pass


async def test_a_host_that_is_not_ours_is_named(settings: Settings) -> None:
    with pytest.raises(OSError, match=r"203\.0\.113\.1 port"):
        async with running(replace(settings, host="203.0.113.1")):
            pass


async def test_after_a_failed_start_the_ports_are_free_again(settings: Settings) -> None:
    async with running(settings) as first:
        pass
    wanted = replace(
        settings,
        port=urlsplit(first.api_url).port or 0,
        admin_port=urlsplit(first.admin_url).port or 0,
    )
    with pytest.raises(StoreUnavailable):
        async with running(replace(wanted, database_url="postgresql://127.0.0.1:1/none")):
            pass
    async with running(wanted) as again:
        assert first == again


async def test_a_host_name_is_bound_on_every_address_with_one_port(settings: Settings) -> None:
    async with started(replace(settings, host="localhost", admin_host="localhost")) as service:
        port = urlsplit(service.api_url).port or 0
        found = await asyncio.get_running_loop().getaddrinfo("localhost", port, type=SOCK_STREAM)
        for family, _, _, _, place in found:
            with socket(family, SOCK_STREAM) as client:
                client.settimeout(5)
                client.connect(place)
    assert len(found) >= 1
