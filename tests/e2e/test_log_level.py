"""The log of a service process: on stderr, and no more of it than was asked for."""

import asyncio
import json

import pytest

from tests.conftest import Database
from tests.e2e.serving import serving


@pytest.mark.parametrize(("level", "tells"), [("INFO", True), ("WARNING", False)])
async def test_a_service_logs_at_the_level_it_was_given(
    database: Database,
    redis_url: str,
    level: str,
    tells: bool,
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with serving(database, redis_url, FLUXPAY_LOG_LEVEL=level) as service:
        async with asyncio.timeout(30):
            assert 0 == await service.stop()
    told = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert (["draining", "stopped"] if tells else []) == [line["event"] for line in told]
