"""Something that stands before the admin API, hands calls on, and misbehaves when told to.

    async with AdminFront(service.admin_url) as front:
        front.answers = 503            # every call is answered so, and does not arrive
        front.answers = None           # calls are handed on again
        front.delay_s = 30             # each call waits first
        front.drops = True             # connections are cut without an answer

`calls` tells what was asked for, and when. `around` may run code before a call is handed on and
before its answer goes back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web


@dataclass(frozen=True, slots=True)
class Call:
    """One call, as it came."""

    at_s: float
    method: str
    path: str


class AdminFront:
    """See the module. Use it as an async context manager."""

    def __init__(self, target: str) -> None:
        self.url = ""
        self.calls: list[Call] = []
        self.answers: int | None = None
        self.headers: dict[str, str] = {}
        self.delay_s = 0.0
        self.drops = False
        self.around: Callable[[Call, str], Awaitable[None]] | None = None
        self._target = target
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._runner is not None
        assert self._session is not None
        await self._runner.cleanup()
        await self._session.close()

    def since(self, at_s: float) -> list[Call]:
        """The calls from an instant on."""
        return [call for call in self.calls if call.at_s >= at_s]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        call = Call(time.monotonic(), request.method, request.path)
        self.calls.append(call)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.drops:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if self.answers is not None:
            return web.Response(status=self.answers, headers=self.headers)
        if self.around is not None:
            await self.around(call, "before")
        answer = await self._hand_on(request)
        if self.around is not None:
            await self.around(call, "after")
        return answer

    async def _hand_on(self, request: web.Request) -> web.Response:
        assert self._session is not None
        names = ("Authorization", "Content-Type")
        headers = {name: request.headers[name] for name in names if name in request.headers}
        async with self._session.request(
            request.method,
            f"{self._target}{request.path_qs}",
            data=await request.read(),
            headers=headers,
        ) as answer:
            return web.Response(
                status=answer.status,
                body=await answer.read(),
                content_type=answer.content_type,
            )
