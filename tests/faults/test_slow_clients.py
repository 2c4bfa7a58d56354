"""Clients that are slow, silent or gone: each is bounded, and harms nobody else."""

import asyncio
import json
import logging
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, closing
from dataclasses import replace
from urllib.parse import urlsplit

import psycopg2
import pytest

from fluxpay.core.problems import Code
from tests.conftest import Database
from tests.web.service import PAYMENT, RawConnection, Service, request_bytes, settings_for, started

BODY = json.dumps(PAYMENT).encode()


@pytest.fixture
async def service(database: Database, redis_url: str) -> AsyncIterator[Service]:
    """A service that waits for nobody longer than a second."""
    settings = replace(settings_for(database.app_url, redis_url), request_timeout_s=1)
    async with started(settings) as running_service:
        yield await running_service.for_new_tenant()


def head(service: Service, **headers: str) -> bytes:
    wanted = {
        "Authorization": f"Bearer {service.api_key}",
        "Idempotency-Key": uuid.uuid4().hex,
        "Content-Type": "application/json",
        "Content-Length": str(len(BODY)),
    }
    return request_bytes(headers=wanted | headers, length=False)


async def test_a_body_that_stops_half_way_is_given_up(service: Service) -> None:
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(head(service) + BODY[:5])
        answer = await connection.answer()
        assert (408, Code.BODY_TIMEOUT) == (answer.status, answer.code)
        assert "close" == answer.headers["Connection"]
        assert "RateLimit" in answer.headers
        assert await connection.is_closed()


async def test_a_body_that_trickles_is_given_up_all_the_same(service: Service) -> None:
    async def trickle(connection: RawConnection) -> None:
        for _ in range(100):
            await connection.send(b" ")
            await asyncio.sleep(0.1)

    async with RawConnection.to(service.api_url) as connection:
        await connection.send(head(service, **{"Content-Length": "1000"}))
        trickling = asyncio.create_task(trickle(connection))
        answer = await connection.answer()
        assert (408, Code.BODY_TIMEOUT) == (answer.status, answer.code)
        trickling.cancel()
        await asyncio.gather(trickling, return_exceptions=True)


async def test_a_body_that_comes_in_pieces_but_in_time_is_read(service: Service) -> None:
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(head(service))
        for position in range(0, len(BODY), 10):
            await asyncio.sleep(0.02)
            await connection.send(BODY[position : position + 10])
        assert 201 == (await connection.answer()).status


async def test_a_head_that_never_ends_is_given_up(service: Service) -> None:
    async def trickle(connection: RawConnection) -> None:
        while True:
            await connection.send(b"X-More: and more\r\n")
            await asyncio.sleep(0.1)

    async with RawConnection.to(service.api_url) as connection:
        await connection.send(b"GET /health/live HTTP/1.1\r\nHost: test\r\n")
        trickling = asyncio.create_task(trickle(connection))
        assert await connection.is_closed()
        trickling.cancel()
        await asyncio.gather(trickling, return_exceptions=True)


async def test_a_head_that_begins_with_its_connection_is_given_up_too(service: Service) -> None:
    place = urlsplit(service.api_url)
    with ExitStack() as stack:
        connections = []
        for _ in range(20):
            # Sent while the loop rests, so that it finds connection and bytes in one turn.
            connection = socket.create_connection((place.hostname, place.port))
            stack.callback(connection.close)
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: test\r\n")
            connection.setblocking(False)
            connections.append(connection)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(10):
            ends = [await loop.sock_recv(connection, 1) for connection in connections]
    assert [b""] * 20 == ends


async def test_a_second_head_that_never_ends_is_given_up_too(service: Service) -> None:
    async with RawConnection.to(service.api_url) as connection:
        await connection.send(request_bytes("GET", "/health/live"))
        assert 200 == (await connection.answer()).status
        await connection.send(b"GET /health/li")
        assert await connection.is_closed()


async def test_a_head_in_pieces_but_in_time_is_read_and_the_connection_stays(
    service: Service,
) -> None:
    whole = request_bytes("GET", "/health/live")
    async with RawConnection.to(service.api_url) as connection:
        for _ in range(2):
            for position in range(0, len(whole), 8):
                await connection.send(whole[position : position + 8])
                await asyncio.sleep(0.01)
            assert 200 == (await connection.answer()).status
        # Being idle is no fault: nothing was begun.
        await asyncio.sleep(1.5)
        await connection.send(whole)
        assert 200 == (await connection.answer()).status


async def test_many_slow_clients_keep_nobody_waiting(service: Service) -> None:
    async with AsyncExitStack() as stack:
        for number in range(200):
            connection = await stack.enter_async_context(RawConnection.to(service.api_url))
            begun = head(service) + BODY[:5] if number % 2 else b"GET / HTTP/1.1\r\nX: "
            await connection.send(begun)
        assert 201 == (await service.pay()).status


async def test_a_client_that_goes_away_within_its_body_is_no_fault(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            async with RawConnection.to(service.api_url) as connection:
                await connection.send(head(service) + BODY[:5])
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)
        assert 201 == (await service.pay()).status
    assert [] == [record.getMessage() for record in caplog.records]


async def test_a_payment_is_made_although_its_client_went_away(
    database: Database, redis_url: str
) -> None:
    async with started(settings_for(database.app_url, redis_url)) as plain:
        service, key = await plain.for_new_tenant(), uuid.uuid4().hex
        with closing(psycopg2.connect(database.owner_url)) as holder:
            holder.cursor().execute("LOCK TABLE payments IN ACCESS EXCLUSIVE MODE")
            async with RawConnection.to(service.api_url) as connection:
                await connection.send(head(service, **{"Idempotency-Key": key}) + BODY)
                await asyncio.sleep(0.3)
            # The client is gone while its payment waits for the lock.
            await asyncio.sleep(0.1)
        async with asyncio.timeout(10):
            while not (await service.call("GET", "/v1/payments")).document["data"]:
                await asyncio.sleep(0.02)
        answer = await service.pay(key)
    assert (201, "true") == (answer.status, answer.headers["Idempotent-Replayed"])


async def flood(connection: RawConnection, data: bytes) -> None:
    while True:
        await connection.send(data)


async def test_a_client_that_never_reads_is_given_up(service: Service) -> None:
    async with RawConnection.to(service.api_url) as connection:
        sent = request_bytes("GET", "/problems") * 50
        connection.writer.transport.set_write_buffer_limits(high=0)
        with pytest.raises(ConnectionError):
            # The service reads no more, the sockets fill up, sending halts; and then the service
            # gives the connection up.
            await asyncio.wait_for(flood(connection, sent), timeout=20)
        assert 201 == (await service.pay()).status
