"""Every line, whoever wrote it, has the members that the reference promises, and is one line."""

import asyncio
import json
import logging
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from fluxpay.observability import logs
from fluxpay.observability.current import CURRENT
from tests.conftest import Kept

LOG = logs.logger("fluxpay.test")


@dataclass(slots=True)
class Work:
    trace_id: str = "4" * 32
    span_id: str = "4111111111111111"
    is_sampled: bool = False
    tenant_id: str = ""
    key_id: str = ""


@pytest.fixture
def kept() -> Iterator[Kept]:
    """All lines of the test, as JSON."""
    yield from keeping("json")


@pytest.fixture
def shown() -> Iterator[Kept]:
    """All lines of the test, for a person."""
    yield from keeping("console")


def keeping(style: str) -> Iterator[Kept]:
    handler, root = Kept(style), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.setLevel(before)
    root.removeHandler(handler)


def only(kept: Kept) -> dict[str, Any]:
    (line,) = kept.written
    members: dict[str, Any] = json.loads(line)
    return members


def test_a_line_says_when_how_bad_who_and_what_in_this_order(kept: Kept) -> None:
    before = datetime.now(UTC)
    LOG.warning("something_happened", count=3, of="things", nothing=None)
    line = only(kept)
    assert ["timestamp", "level", "logger", "event", "count", "of"] == list(line)
    told = ["warning", "fluxpay.test", "something_happened", 3, "things"]
    assert told == list(line.values())[1:]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
    elapsed_s = (datetime.fromisoformat(line["timestamp"]) - before).total_seconds()
    assert abs(elapsed_s) < 60


@pytest.mark.parametrize("name", ["aiohttp.server", "kopf.objects", "asyncio", "urllib3.pool"])
def test_a_library_s_line_goes_through_the_same_pipeline(kept: Kept, name: str) -> None:
    logging.getLogger(name).error("%s went wrong with %s", "it", "postgres://u:secret@db/x")
    line = only(kept)
    assert ["error", name] == [line["level"], line["logger"]]
    assert "it went wrong with postgres://[redacted]@db/x" == line["event"]


def test_a_line_carries_the_ids_of_the_work_it_belongs_to(kept: Kept) -> None:
    token = CURRENT.set(Work())
    LOG.info("at_first")
    CURRENT.set(Work(tenant_id="ten_a", key_id="key_b"))
    logging.getLogger("aiohttp.server").info("later")
    CURRENT.reset(token)
    LOG.info("afterwards")
    first, later, afterwards = (json.loads(line) for line in kept.written)
    # Not taken for a card number, though its digits could be one's.
    ids = {"trace_id": "4" * 32, "span_id": "4111111111111111"}
    assert ids == {name: first[name] for name in first if name.endswith("_id")}
    ids |= {"tenant_id": "ten_a", "key_id": "key_b"}
    assert ids == {name: later[name] for name in later if name.endswith("_id")}
    assert not [name for name in afterwards if name.endswith("_id")]


def test_what_is_bound_to_a_task_is_in_all_of_its_lines_and_in_no_other(kept: Kept) -> None:
    with structlog.contextvars.bound_contextvars(namespace="shops", tenant="corner"):
        LOG.info("ours")
        logging.getLogger("kubernetes_library").info("theirs")
    LOG.info("after")
    ours, theirs, after = (json.loads(line) for line in kept.written)
    for line in (ours, theirs):
        assert ("shops", "corner") == (line["namespace"], line["tenant"])
    assert "tenant" not in after


def test_what_kopf_says_of_a_resource_names_it(kept: Kept) -> None:
    reference = {"kind": "Tenant", "namespace": "shops", "name": "corner", "uid": "u"}
    logging.getLogger("kopf.objects").info("seen\ntwice", extra={"k8s_ref": reference})
    line = only(kept)
    assert ("shops", "corner") == (line["namespace"], line["resource"])
    assert "seen\ntwice" == line["event"]


def test_a_warning_of_python_is_a_line_too(kept: Kept) -> None:
    logging.captureWarnings(capture=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", DeprecationWarning, stacklevel=1)
    finally:
        logging.captureWarnings(capture=False)
    assert "DeprecationWarning: old" in only(kept)["event"]


async def test_a_task_that_fails_unseen_is_told_without_what_it_failed_on(kept: Kept) -> None:
    async def fail() -> None:
        raise ValueError("of a customer")

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    (line,) = (json.loads(line) for line in kept.written if '"error"' in line)
    assert "asyncio" == line["logger"]
    assert "Task exception was never retrieved" == line["event"]
    assert line["exception"].endswith("ValueError")
    assert "of a customer" not in str(line)


def test_a_line_below_the_level_is_not_made(kept: Kept) -> None:
    logging.getLogger().setLevel(logging.WARNING)
    LOG.info("unheard")
    LOG.log(logging.INFO, "unheard")
    LOG.error("heard")
    assert "heard" == only(kept)["event"]


def test_for_a_person_a_line_reads_as_text_and_a_traceback_is_marked(shown: Kept) -> None:
    try:
        raise OSError(2, "it\nis gone")
    except OSError:
        LOG.exception("failed", route="/v1/payments", note="two words", empty="")
    head, *frames = shown.written[0].split("\n")
    told = r"\S+Z error    fluxpay.test failed route=/v1/payments note=\"two words\" empty=\"\""
    assert re.fullmatch(told, head)
    assert 2 == len(frames)
    assert all(frame.startswith("    | ") for frame in frames)
    assert frames[-1].endswith("it is gone")


PROGRAM = """
import logging, sys, threading
from fluxpay.observability import logs
logs.set_up("INFO", "json")
logging.getLogger("any.library").info("%s and %s", "too little")
logging.getLogger("any.library").info("%s", "enough")
def die(): raise KeyError("of a customer")
thread = threading.Thread(target=die, name="helper")
thread.start(); thread.join()
class Leaves:
    def __del__(self): raise KeyError("of a customer")
Leaves()
raise KeyError("of a customer")
"""


def test_what_nobody_caught_is_a_line_and_not_a_traceback_on_many() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=60
    )
    assert (1, "") == (ended.returncode, ended.stdout)
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [
        ("error", "line_unwritable"),
        ("info", "enough"),
        ("error", "thread_failed"),
        ("error", "exception_ignored"),
        ("critical", "process_failed"),
    ] == [(line["level"], line["event"]) for line in lines]
    assert ("any.library", "TypeError") == (lines[0]["of"], lines[0]["error"])
    assert "helper" == lines[2]["thread"]
    assert all(line["exception"].endswith("KeyError") for line in lines[2:])
    assert "of a customer" not in ended.stderr


QUIET = """
import logging, sys, warnings
from fluxpay.observability import logs
# As a library may have done before.
logging.basicConfig()
logs.set_up(sys.argv[1], "json")
for name in ("any", "kopf.objects", "kubernetes.client.rest"):
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger(name).log(level, "something")
warnings.warn("old")
"""
LEVELS = ("debug", "info", "warning", "error")


@pytest.mark.parametrize(
    ("level", "of_any", "of_kopf"), [("DEBUG", 4, 4), ("INFO", 3, 2), ("ERROR", 1, 1)]
)
def test_of_kopf_and_the_client_only_what_is_worth_a_person_s_time_is_written(
    level: str, of_any: int, of_kopf: int
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", QUIET, level], capture_output=True, text=True, check=True, timeout=60
    )
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    warned = [("py.warnings", "warning")] if level != "ERROR" else []
    assert [
        *(("any", one) for one in LEVELS[-of_any:]),
        *(("kopf.objects", one) for one in LEVELS[-of_kopf:]),
        ("kubernetes.client.rest", "error"),
        *warned,
    ] == [(line["logger"], line["level"]) for line in lines]
