"""One small port of a process that serves nobody: is it alive, is it ready, what did it count.

Knows HTTP, three routes and how a verdict looks. Must not know what life or readiness mean to the
process: that is for its `Vitals` to say. The kubelet and Prometheus ask in plain HTTP and without a
key, so nothing is told here that a stranger must not read.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import hdrs, web

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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


async def serve(
    vitals: Vitals, exposition: Callable[[str], tuple[bytes, str]], *, host: str, port: int
) -> tuple[web.AppRunner, int]:
    """Begin to answer.

    Args:
        exposition: Writes the metrics, in the format that an Accept field prefers.

    Returns: What to clean up, and the port.

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
    app.on_response_prepare.append(_keep_the_version)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner, runner.addresses[0][1]


async def _keep_the_version(_: web.Request, response: web.StreamResponse) -> None:
    """Take out what aiohttp tells of itself: no port of ours names what it runs on."""
    del response.headers[hdrs.SERVER]


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
        headers={"Cache-Control": "no-store"},
    )
