"""The proxy does to a connection what it says, and nothing else."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.faults.proxy import FaultProxy


@asynccontextmanager
async def _echo(received: bytearray) -> AsyncIterator[tuple[str, int]]:
    """A server that keeps what it receives, and sends it back."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(1024):
                received.extend(piece)
                writer.write(piece)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()


async def _say(proxy: FaultProxy, words: bytes) -> bytes:
    """Give what comes back before the connection ends or the echo is whole."""
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    heard = b""
    try:
        writer.write(words)
        async with asyncio.timeout(5):
            while len(heard) < len(words) and (piece := await reader.read(1024)):
                heard += piece
        return heard
    except ConnectionError:
        return heard
    finally:
        writer.transport.abort()


async def test_untroubled_it_carries_everything_and_counts() -> None:
    received = bytearray()
    async with _echo(received) as target, FaultProxy(target, record=True) as proxy:
        assert b"hello" == await _say(proxy, b"hello")
        assert (1, 0, b"hello") == (proxy.accepted, proxy.cuts, bytes(proxy.requests))


async def test_it_forwards_to_a_unix_socket(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read(1024)).upper())
        writer.close()

    path = tmp_path / "s"
    server = await asyncio.start_unix_server(serve, path)
    async with FaultProxy(path) as proxy:
        assert b"HELLO" == await _say(proxy, b"hello")
    server.close()


async def test_a_lost_reply_follows_a_request_that_arrived() -> None:
    received = bytearray()
    async with _echo(received) as target, FaultProxy(target) as proxy:
        proxy.cut_after_reply_bytes(2)
        assert b"he" == await _say(proxy, b"hello")
        assert (b"hello", 1) == (bytes(received), proxy.cuts)
        assert b"again" == await _say(proxy, b"again")


async def test_a_lost_request_never_arrives() -> None:
    received = bytearray()
    async with _echo(received) as target, FaultProxy(target) as proxy:
        proxy.cut_after_request_bytes(0)
        assert b"" == await _say(proxy, b"hello")
        assert b"" == bytes(received)


async def test_a_black_hole_accepts_and_stays_silent_until_it_is_healed() -> None:
    received = bytearray()
    async with _echo(received) as target, FaultProxy(target) as proxy:
        proxy.blackhole()
        task = asyncio.create_task(_say(proxy, b"hello"))
        done, _ = await asyncio.wait({task}, timeout=0.1)
        assert not done
        assert (1, b"") == (proxy.accepted, bytes(received))
        await proxy.heal()
        assert b"" == await task
        assert b"again" == await _say(proxy, b"again")


async def test_refusing_ends_with_healing_on_the_same_port() -> None:
    async with _echo(bytearray()) as target, FaultProxy(target) as proxy:
        port = proxy.port
        await proxy.refuse()
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            pass
        await proxy.heal()
        assert b"hello" == await _say(proxy, b"hello")
        assert port == proxy.port


@pytest.mark.parametrize("turns", range(5))
async def test_whoever_is_just_let_in_is_refused_too(turns: int) -> None:
    async with _echo(bytearray()) as target, FaultProxy(target) as proxy:
        with socket.create_connection((proxy.host, proxy.port)) as caller:
            for _ in range(turns):
                await asyncio.sleep(0)
            await proxy.refuse()
            caller.setblocking(False)
            async with asyncio.timeout(5):
                with suppress(ConnectionError):
                    await asyncio.get_running_loop().sock_sendall(caller, b"hello")
                    assert b"" == await asyncio.get_running_loop().sock_recv(caller, 5)


async def test_a_cut_resets_what_is_open() -> None:
    async with _echo(bytearray()) as target, FaultProxy(target) as proxy:
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"hello")
        assert b"hello" == await reader.readexactly(5)
        proxy.cut()
        async with asyncio.timeout(5):
            with suppress(ConnectionError):
                assert b"" == await reader.read()
        writer.close()
        assert b"again" == await _say(proxy, b"again")


async def test_a_delay_holds_both_directions() -> None:
    async with _echo(bytearray()) as target, FaultProxy(target) as proxy:
        proxy.delay_s = 0.1
        started = asyncio.get_running_loop().time()
        assert b"hello" == await _say(proxy, b"hello")
        assert asyncio.get_running_loop().time() - started >= 0.19
