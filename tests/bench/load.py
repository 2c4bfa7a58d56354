"""The load: connections that ask as fast as they are answered, or at a given pace.

A process of its own that knows just enough HTTP to keep a connection busy. It reads sockets with
epoll and nothing in between, because what the generator uses of two processors is taken from the
server it measures. wrk is not used: it is no wheel, so `make bench` could not install it; it cannot
pace; and with a script that makes keys it costs as much (20 µs a request against 18 to 19 here).
It is told what to do as one JSON object on stdin (see `Job`), and prints one.

At a pace (`rate`), requests fall due at random moments, whatever was answered before, and a latency
counts from when its request was due: one that had to wait for a connection has waited.
"""

import json
import math
import random
import resource
import select
import socket
import sys
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, cycle
from time import perf_counter
from typing import Any, Final

from tests.bench import usage

BODY: Final = b'{"amount":1250,"currency":"EUR","reference":"order-7"}'
_RECEIVED_MAX: Final = 65_536
# 2**64 over the golden ratio: multiples of it are spread over all numbers and never repeat. Keys
# are spread as clients' UUIDs are, which is the hard case for an index.
_SPREAD: Final = 0x9E3779B97F4A7C15
_ALL: Final = (1 << 64) - 1
_PATIENCE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Job:
    """What to do.

    Args:
        address: host and port.
        keys: API keys, which take turns.
        prefix: begins every idempotency key, so that no two runs share one.
        paths: what to GET instead, each with its API key; they take turns.
        replays: idempotency keys to use instead, each with its API key; they take turns.
        seconds: how long is measured, after `warm_s` that are not.
        rate: requests a second; 0 is as many as are answered.
        watched: process ids by name, whose CPU time is told.
        count: how many requests to make, one after the other, instead of measuring; the answer
            tells the path of each payment.
    """

    address: tuple[str, int]
    keys: list[str] = field(default_factory=list)
    prefix: str = ""
    paths: list[tuple[str, str]] = field(default_factory=list)
    replays: list[tuple[str, str]] = field(default_factory=list)
    connections: int = 64
    seconds: float = 1.0
    warm_s: float = 0.5
    rate: float = 0.0
    watched: dict[str, list[int]] = field(default_factory=dict)
    count: int = 0


class Crew:
    """The connections, and what they have seen."""

    def __init__(self, job: Job, requests: Iterator[bytes]) -> None:
        self.requests = requests
        self.latencies_s = array("d")
        self.statuses: dict[int, int] = {}
        self.heard: list[bytes] | None = [] if job.count else None
        self.poller = select.epoll()
        self.sockets: dict[int, socket.socket] = {}
        self.begun_s: dict[int, float] = {}
        self._partial: dict[int, bytes] = {}
        for _ in range(job.connections):
            one = socket.create_connection(job.address, timeout=_PATIENCE_S)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sockets[one.fileno()] = one
            self.poller.register(one, select.EPOLLIN)

    def ask(self, descriptor: int, begun_s: float) -> None:
        """Send the next request on this connection."""
        self.begun_s[descriptor] = begun_s
        self.sockets[descriptor].sendall(next(self.requests))

    def hear(self, descriptor: int) -> bool:
        """Read from this connection; tells whether its answer is complete."""
        data = self.sockets[descriptor].recv(_RECEIVED_MAX)
        if not data:
            raise SystemExit("load: the server closed a connection")
        if self._partial:
            data = self._partial.pop(descriptor, b"") + data
        end = data.find(b"\r\n\r\n")
        if end < 0 or len(data) < end + 4 + length_of(data, end):
            self._partial[descriptor] = data
            return False
        self.latencies_s.append(perf_counter() - self.begun_s[descriptor])
        status = int(data[9:12])
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if self.heard is not None:
            self.heard.append(data)
        return True

    def start_measuring(self) -> None:
        """Forget what was seen so far."""
        self.latencies_s = array("d")
        self.statuses = {}

    def leave(self) -> None:
        """Close the connections."""
        for one in self.sockets.values():
            one.close()


def length_of(data: bytes, end: int) -> int:
    """The Content-Length of a head that ends here."""
    at = data.find(b"Content-Length: ", 0, end)
    return int(data[at + 16 : data.find(b"\r", at, end + 1)]) if at >= 0 else 0


def requests_of(job: Job) -> Iterator[bytes]:
    """Endless requests."""
    host = f"Host: {job.address[0]}:{job.address[1]}\r\n"
    if job.paths:
        return cycle(
            [
                f"GET {path} HTTP/1.1\r\n{host}Authorization: Bearer {key}\r\n\r\n".encode()
                for key, path in job.paths
            ]
        )
    tail = b"\r\n\r\n" + BODY
    if job.replays:
        return cycle([_head(host, key) + used.encode() + tail for key, used in job.replays])
    return _payments([_head(host, key) for key in job.keys], job.prefix.encode(), tail)


def _head(host: str, key: str) -> bytes:
    return (
        f"POST /v1/payments HTTP/1.1\r\n{host}Authorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\nIdempotency-Key: "
    ).encode()


def _payments(heads: list[bytes], prefix: bytes, tail: bytes) -> Iterator[bytes]:
    for number, head in zip(count(), cycle(heads)):
        yield b"%b%016x-%b%b" % (head, number * _SPREAD & _ALL, prefix, tail)


def at_full_speed(crew: Crew, until_s: float) -> None:
    """Ask again whenever an answer is complete."""
    poll, hear, ask = crew.poller.poll, crew.hear, crew.ask
    while perf_counter() < until_s:
        for descriptor, _ in poll(1.0):
            if hear(descriptor):
                ask(descriptor, perf_counter())


def at_a_pace(crew: Crew, idle: deque[int], *, rate: float, until_s: float) -> None:
    """Ask when a request is due."""
    chance = random.Random(rate)
    due_s = perf_counter()
    while (now_s := perf_counter()) < until_s:
        while due_s <= now_s and idle:
            crew.ask(idle.popleft(), due_s)
            due_s += chance.expovariate(rate)
        # epoll waits whole milliseconds only; select on the epoll itself is finer.
        wait_s = max(0.0, due_s - perf_counter()) if idle else 1.0
        if select.select([crew.poller], [], [], wait_s)[0]:
            idle.extend(one for one, _ in crew.poller.poll(0) if crew.hear(one))


def rounds_of(crew: Crew, job: Job) -> Callable[[float], None]:
    """What to do until a moment."""
    if job.rate:
        idle = deque(crew.sockets)
        return lambda until_s: at_a_pace(crew, idle, rate=job.rate, until_s=until_s)
    for descriptor in crew.sockets:
        crew.ask(descriptor, perf_counter())
    return lambda until_s: at_full_speed(crew, until_s)


def used_cpu_s(job: Job) -> dict[str, float]:
    """CPU seconds so far, of those watched and of this process."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    used = {name: usage.cpu_s(pids) for name, pids in job.watched.items()}
    return used | {"load": own.ru_utime + own.ru_stime}


def percentile(ordered: Sequence[float], part: float) -> float:
    """The smallest of these sorted values that at least this part of them do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * part) - 1)]


def measure(job: Job) -> dict[str, Any]:
    """Keep the connections busy, and tell how it went."""
    crew = Crew(job, requests_of(job))
    if job.count:
        return _make(crew, job)
    go_on = rounds_of(crew, job)
    go_on(perf_counter() + job.warm_s)
    before_s = used_cpu_s(job)
    crew.start_measuring()
    started_s = perf_counter()
    go_on(started_s + job.seconds)
    took_s = perf_counter() - started_s
    after_s = used_cpu_s(job)
    crew.leave()
    ordered = sorted(crew.latencies_s)
    if not ordered:
        raise SystemExit("load: nothing was answered")
    return {
        "rate": len(ordered) / took_s,
        "p50_ms": 1000 * percentile(ordered, 0.50),
        "p99_ms": 1000 * percentile(ordered, 0.99),
        "cpu_us": {name: 1e6 * (after_s[name] - before_s[name]) / len(ordered) for name in after_s},
        "statuses": crew.statuses,
    }


def _make(crew: Crew, job: Job) -> dict[str, Any]:
    """Make so many payments on one connection, and tell the path of each."""
    assert crew.heard is not None
    (descriptor,) = crew.sockets
    for number in range(job.count):
        crew.ask(descriptor, perf_counter())
        while len(crew.heard) == number:
            crew.hear(descriptor)
    heads = [answer.partition(b"\r\n\r\n")[0].decode() for answer in crew.heard]
    return {
        "statuses": crew.statuses,
        "paths": [head.partition("Location: ")[2].partition("\r\n")[0] for head in heads],
    }


if __name__ == "__main__":
    told = json.load(sys.stdin)
    print(json.dumps(measure(Job(**(told | {"address": tuple(told["address"])})))))
