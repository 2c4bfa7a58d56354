"""One small port of a process that serves nobody: is it alive, is it ready, what did it count.

Knows HTTP, three routes and how a verdict looks. Must not know what life or readiness mean to the
process: that is for its `Vitals` to say. The kubelet and Prometheus ask in plain HTTP and without a
key, so nothing is told here that a stranger must not read.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import hdrs, web

from fluxpay.observability.probe_wire import ProbeWire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

_OK: Final = 200
_UNAVAILABLE: Final = 503


class Vitals(Protocol):
    """Tells how a process is."""

    def checks(self) -> Mapping[str, str]:
        """What keeps it alive, each `ok` or `down`; a new process is the cure of what is down."""

    def readiness(self) -> Mapping[str, str]:
        """What it needs beside being alive, each `ok` or `down`."""

    def about(self) -> Mapping[str, str]:
        """What else is told to who asks whether it is ready."""


@asynccontextmanager
async def answering(
    vitals: Vitals, exposition: Callable[[str], tuple[bytes, str]], *, host: str, port: int
) -> AsyncIterator[int]:
    """Answer for the length of a block; gives the port.

    Args:
        exposition: Writes the metrics, in the format that an Accept field prefers.

    Raises: OSError when the port is taken or the host is not ours; the text names both.
    """

    async def live(_: web.Request) -> web.Response:
        return _answer(vitals.checks(), {})

    async def ready(_: web.Request) -> web.Response:
        return _answer({**vitals.checks(), **vitals.readiness()}, vitals.about())

    async def metrics(request: web.Request) -> web.Response:
        body, content_type = exposition(request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})

    app = web.Application()
    app.router.add_get("/health/live", live)
    app.router.add_get("/health/ready", ready)
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    loop, manager = asyncio.get_running_loop(), runner.server
    if manager is None:
        raise RuntimeError("the runner was set up and has no server")
    try:
        server = await loop.create_server(
            # It may be None, whatever its annotation says: nobody keeps a log of probes.
            lambda: ProbeWire(manager, loop=loop, access_log=None),  # type: ignore[arg-type]
            host,
            port,
        )
    except OSError:
        await runner.cleanup()
        raise
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await runner.cleanup()


def verdict(silence_s: float, *, at_most: float) -> str:
    """Judge something that has to be heard of now and then."""
    return "ok" if silence_s <= at_most else "down"


def _answer(checks: Mapping[str, str], more: Mapping[str, str]) -> web.Response:
    is_well = all(check == "ok" for check in checks.values())
    document = {"status": "ok" if is_well else "down", "checks": dict(checks), **more}
    return web.Response(
        text=json.dumps(document),
        status=_OK if is_well else _UNAVAILABLE,
        content_type="application/json",
    )
