"""A collector that throws spans away, and beside it one that never answers.

It reads what HTTP says a request has and answers it, so that its own work is nearly none: it runs
on the processors that are measured.
"""

import asyncio

import uvloop

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"


async def main() -> None:
    """Serve until killed."""
    urls = []
    for handler in (_swallow, _ignore):
        server = await asyncio.start_server(handler, "127.0.0.1", 0, limit=1 << 22)
        urls.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    print(*urls, flush=True)
    await asyncio.Event().wait()


async def _swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()
            return
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        writer.write(_ANSWER)


async def _ignore(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # The kernel takes a little of what is sent, and nobody the rest.
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
