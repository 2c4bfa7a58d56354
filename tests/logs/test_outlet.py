"""Who logs never waits: lines that nobody takes are dropped, counted, and told of later."""

import fcntl
import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from fluxpay.observability import outlet as of_outlets
from fluxpay.observability.outlet import Outlet

LINE_BYTES = 1000


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test goes on because a flush was given up."""
    monkeypatch.setattr(of_outlets, "FLUSH_S_MAX", 3600.0)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe: where to read, where to write."""
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        try:
            os.close(descriptor)
        except OSError:
            continue


def outlet_to(descriptor: int, **options: int) -> Outlet:
    return Outlet(
        descriptor,
        failure=lambda record, error: f"unwritable {record.name} {type(error).__name__}",
        dropped=lambda count: f"dropped {count}",
        **options,
    )


def tell(outlet: Outlet, text: str) -> None:
    outlet.handle(logging.LogRecord("any", logging.INFO, "", 0, text.replace("%", "%%"), (), None))


def test_lines_come_out_whole_and_in_their_order_and_then_no_thread_is_left(
    pipe: tuple[int, int],
) -> None:
    reading, writing = pipe
    others = set(threading.enumerate())
    outlet = outlet_to(writing)
    (thread,) = set(threading.enumerate()) - others
    for number in range(40):
        tell(outlet, str(number))
    tell(outlet, "€")
    outlet.close()
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert [*(str(number) for number in range(40)), "\\u20ac"] == os.read(
        reading, 10_000
    ).decode().split()
    assert 0 == outlet.dropped


def test_a_pipe_that_nobody_reads_keeps_nobody_waiting_and_its_losses_are_told(
    pipe: tuple[int, int],
) -> None:
    reading, writing = pipe
    outlet = outlet_to(writing, bytes_max=100 * LINE_BYTES)
    # Ten times what pipe and queue hold: this would not return if it waited for a reader.
    for number in range(2000):
        tell(outlet, f"{number:0{LINE_BYTES - 1}}")
    dropped = outlet.dropped
    assert 1500 < dropped < 2000
    received = b""
    while not received.endswith(f"dropped {dropped}\n".encode()):
        received += os.read(reading, 1 << 20)
    lines = received.decode().splitlines()
    # What was kept is whole, in order, and all that was not dropped.
    assert [*range(len(lines) - 1)] == [int(line) for line in lines[:-1]]
    assert 2000 == len(lines) - 1 + dropped
    tell(outlet, "again")
    outlet.flush()
    assert b"again\n" == os.read(reading, 1 << 20)
    assert dropped == outlet.dropped
    outlet.close()


def test_a_line_takes_room_until_all_of_it_is_written(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    outlet = outlet_to(writing, bytes_max=10 * LINE_BYTES)
    long, short = "x" * (8 * LINE_BYTES - 1), "y" * (LINE_BYTES - 1)
    tell(outlet, long)
    # It is begun, and the rest of it finds no room in the pipe.
    select.select([reading], (), ())
    for _ in range(5):
        tell(outlet, short)
    assert 3 == outlet.dropped
    expected = b"%s\ndropped 3\n%s%s" % (long.encode(), *[f"{short}\n".encode()] * 2)
    received = b""
    while len(received) < len(expected):
        received += os.read(reading, 1 << 20)
    assert expected == received
    outlet.close()


def test_lines_that_a_full_disk_took_are_told_of_once_there_is_room(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    disk = os.open("/dev/full", os.O_WRONLY)
    outlet = outlet_to(disk)
    for _ in range(2):
        tell(outlet, "unheard")
        outlet.flush()
    assert 2 == outlet.dropped
    os.dup2(writing, disk)
    tell(outlet, "heard")
    outlet.close()
    os.close(disk)
    assert b"heard\ndropped 2\n" == os.read(reading, 1 << 20)
    assert 2 == outlet.dropped


def test_a_descriptor_that_somebody_made_non_blocking_loses_nothing(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.set_blocking(writing, False)
    outlet = outlet_to(writing)
    for number in range(500):
        tell(outlet, f"{number:0{LINE_BYTES - 1}}")
    received = b""
    while len(received) < 500 * LINE_BYTES:
        received += os.read(reading, 1 << 20)
    assert [*range(500)] == [int(line) for line in received.split()]
    outlet.close()


def test_a_reader_that_is_gone_costs_lines_and_nothing_else(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.close(reading)
    outlet = outlet_to(writing)
    tell(outlet, "unheard")
    outlet.flush()
    assert 1 == outlet.dropped
    tell(outlet, "unheard")
    outlet.close()
    assert 2 == outlet.dropped


def test_a_process_ends_though_nobody_reads_its_log() -> None:
    program = """
import logging
from fluxpay.observability import logs
logs.set_up("INFO", "json")
for _ in range(5000):
    logging.getLogger("any").info("x" * 100)
print("done", flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert 0 == process.wait(timeout=60)
        assert process.stdout is not None
        assert process.stderr is not None
        assert "done\n" == process.stdout.read()
        lines = process.stderr.read().splitlines()
    assert {"x" * 100} == {json.loads(line)["event"] for line in lines[:-1]}


def test_a_line_under_way_when_its_process_ends_is_written_to_its_end() -> None:
    program = """
import logging, sys
from fluxpay.observability.outlet import Outlet
logging.getLogger().addHandler(Outlet(2, failure=lambda *_: "unwritable", dropped=str))
logging.warning("x" * 400_000)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        reading = process.stderr.fileno()
        select.select([reading], (), ())
        process.stdin.close()
        received = b""
        # Slowly, so that the process has the time to leave too early.
        while data := os.read(reading, 4096):
            received += data
            time.sleep(0.001)
    assert b"x" * 400_000 + b"\n" == received
