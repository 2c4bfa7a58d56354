"""One aiohttp round trip: a server whose only handler does nothing, on uvloop like the service."""

import asyncio

import uvloop
from aiohttp import web

from fluxpay.web.listener import Address, bind, url_of


async def main() -> None:
    """Serve until killed."""
    app = web.Application()
    app.router.add_get("/", _nothing)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    sockets = bind(Address("127.0.0.1", 0))
    await web.SockSite(runner, sockets[0]).start()
    print(url_of(sockets, is_tls=False), flush=True)
    await asyncio.Event().wait()


async def _nothing(_: web.Request) -> web.Response:
    return web.Response()


if __name__ == "__main__":
    uvloop.run(main())
