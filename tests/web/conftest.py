"""Services for the tests of the web shell: each on its own database, on an emptied Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
import uvloop

from fluxpay.observability.trace_settings import TraceSettings
from fluxpay.settings import Settings
from fluxpay.web.route import Route
from tests.conftest import Database
from tests.web.service import Service, settings_for, started

# What hangs on how a loop accepts, reads and closes is tried on both; the rest on the one that
# the service runs on.
ON_BOTH_LOOPS = {"test_protocol.py", "test_shutdown.py"}

Launch = Callable[..., Awaitable[Service]]


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Name the event loops on which a test runs."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"uvloop": uvloop.new_event_loop}
    if item.path.name in ON_BOTH_LOOPS:
        loops["asyncio"] = asyncio.new_event_loop
    return loops


@pytest.fixture
def settings(database: Database, redis_url: str) -> Settings:
    """Settings of a service for one test."""
    return settings_for(database.app_url, redis_url)


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    """A running service with one tenant."""
    async with started(settings) as running_service:
        yield await running_service.for_new_tenant()


@pytest.fixture
async def launch(settings: Settings) -> AsyncIterator[Launch]:
    """Start a service with other settings, or with further routes."""
    async with AsyncExitStack() as stack:

        async def launched(
            *,
            routes: Sequence[Route] = (),
            tenant: bool = True,
            traces: TraceSettings | None = None,
            **changes: Any,
        ) -> Service:
            plain = await stack.enter_async_context(
                started(replace(settings, **changes), routes=routes, traces=traces)
            )
            return await plain.for_new_tenant() if tenant else plain

        yield launched
