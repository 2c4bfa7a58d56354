"""The last spans of a process are sent on its way out, and keep nothing from ending."""

import logging
import socket
import subprocess
import sys
import threading

import pytest

from fluxpay.observability.spans import recording, spans_counted
from fluxpay.observability.trace_settings import TraceSettings
from fluxpay.observability.work import working
from tests.collector import Collector

# Its spans are under way when the block ends, and would be for five minutes.
PROGRAM = """
import asyncio, sys
from fluxpay.observability.spans import recording
from fluxpay.observability.trace_settings import TraceSettings
from fluxpay.observability.work import working

async def main():
    async with recording(TraceSettings(sys.argv[1], "any", timeout_s=300.0, batch_max=1)):
        for _ in range(3):
            with working("something"):
                pass

asyncio.run(main())
"""


def test_a_process_ends_though_its_collector_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces"
        # The SDK by itself waits half a minute here.
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, url], capture_output=True, check=False, timeout=20
        )
    assert (0, b"") == (ended.returncode, ended.stdout)


async def test_spans_of_what_an_error_ends_are_sent_and_counted_and_no_thread_is_left() -> None:
    async def fail(collector: Collector) -> None:
        # Nothing leaves before the end.
        async with recording(TraceSettings(collector.endpoint, "any", delay_ms=60_000)):
            with working("something"):
                raise LookupError

    before, others = spans_counted(), set(threading.enumerate())
    async with Collector() as collector:
        with pytest.raises(LookupError):
            await fail(collector)
        assert ["something"] == [one.name for one in collector.spans]
    after = spans_counted()
    assert (1, 0) == tuple(after[name] - before[name] for name in ("exported", "dropped"))
    # Those of asyncio are kept for the next who asks.
    left = {one.name for one in set(threading.enumerate()) - others}
    assert set() == {name for name in left if not name.startswith("asyncio")}


async def test_of_the_libraries_that_send_only_warnings_of_the_client_are_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Collector() as collector, recording(TraceSettings(collector.endpoint, "any")):
        for name in ("opentelemetry.sdk.trace", "opentelemetry.exporter", "urllib3.poolmanager"):
            for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.CRITICAL):
                logging.getLogger(name).log(level, "something")
    told = [(name, level) for name, level, _ in caplog.record_tuples if name != "asyncio"]
    client = "urllib3.poolmanager"
    assert [(client, logging.WARNING), (client, logging.CRITICAL)] == told
