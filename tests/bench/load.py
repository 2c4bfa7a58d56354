"""The load: connections that pay as fast as they are answered, in a process of their own.

Knows just enough HTTP to keep a connection busy: it writes whole requests and reads answers by
their Content-Length. A client library would cost more than the server it measures.

    python tests/bench/load.py URL KEY CONNECTIONS SECONDS PREFIX [REPEATED]

prints one JSON object. REPEATED is how many idempotency keys are used, again and again; without
it every payment has a key of its own.
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, cycle
from time import perf_counter
from typing import Final, cast
from urllib.parse import urlsplit

import uvloop

_BODY: Final = b'{"amount":1250,"currency":"EUR","reference":"order-7"}'


@dataclass(slots=True)
class Tally:
    """What the connections saw; latencies in seconds."""

    latencies_s: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)


class Payer(asyncio.Protocol):
    """One connection: pays, waits for the answer, pays again."""

    def __init__(self, head: bytes, keys: Iterator[int], tally: Tally, prefix: str) -> None:
        self._head = head
        self._keys = keys
        self._tally = tally
        self._prefix = prefix
        self._buffer = b""
        self._sent_s = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's, but they are what asyncio describes.
        self._transport = cast("asyncio.Transport", transport)
        self._pay()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        length = head.lower().split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0]
        if len(body) < int(length):
            return
        self._buffer = b""
        self._tally.latencies_s.append(perf_counter() - self._sent_s)
        status = int(head[9:12])
        self._tally.statuses[status] = self._tally.statuses.get(status, 0) + 1
        self._pay()

    def _pay(self) -> None:
        self._sent_s = perf_counter()
        assert self._transport is not None
        key = f"Idempotency-Key: {self._prefix}-{next(self._keys)}\r\n\r\n".encode()
        self._transport.write(self._head + key + _BODY)


async def load(
    url: str, *, key: str, connections: int, seconds: float, prefix: str, keys: Iterator[int]
) -> dict[str, object]:
    """Pay for some seconds, and tell how it went."""
    place = urlsplit(url)
    host, port = place.hostname or "", place.port or 80
    head = (
        f"POST /v1/payments HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(_BODY)}\r\n"
    ).encode()
    tally, loop = Tally(), asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: Payer(head, keys, tally, prefix), host, port)
        for _ in range(connections)
    ]
    tally.latencies_s.clear()
    tally.statuses.clear()
    started_s = perf_counter()
    await asyncio.sleep(seconds)
    took_s = perf_counter() - started_s
    for transport, _ in opened:
        transport.close()
    ordered = sorted(tally.latencies_s)
    return {
        "payments_per_s": len(ordered) / took_s,
        "p50_ms": 1000 * ordered[len(ordered) // 2],
        "p99_ms": 1000 * ordered[len(ordered) * 99 // 100],
        "statuses": tally.statuses,
    }


if __name__ == "__main__":
    target, token, width, duration, name, *repeated = sys.argv[1:]
    print(
        json.dumps(
            uvloop.run(
                load(
                    target,
                    key=token,
                    connections=int(width),
                    seconds=float(duration),
                    prefix=name,
                    keys=cycle(range(int(repeated[0]))) if repeated else count(),
                )
            )
        )
    )
