"""A service in a process of its own, for tests that send it signals.

Run as `python -m tests.web.serving DATABASE_URL REDIS_URL SHUTDOWN_TIMEOUT_S`; prints both URLs in
one line when it is ready, and `ended` when it ended by itself.
"""

import asyncio
import sys
from dataclasses import replace

import uvloop

from fluxpay.web.server import Listening, run
from tests.web.service import settings_for


def announce(listening: Listening) -> None:
    print(listening.api_url, listening.admin_url, flush=True)  # noqa: T201 - the parent reads it


async def main() -> None:
    database_url, redis_url, timeout = sys.argv[1:]
    settings = settings_for(database_url, redis_url)
    settings = replace(settings, shutdown_timeout_s=int(timeout))
    await run(settings, on_ready=announce)


with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
print("ended", flush=True)  # noqa: T201 - the parent reads it
