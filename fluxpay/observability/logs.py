"""One pipeline for all that is logged: ours, the libraries', warnings, and what nobody caught.

Whatever is logged in a process ends as one line on stderr: a JSON object, or text for a person.
Our own lines name an event, in snake case, and say the rest in members; a library's line has its
words as the event. Both get the time, the ids of the work they belong to, and pass the redaction.
No value can end a line or move a terminal: all but printable ASCII is written as an escape.

Knows structlog, the standard library's logging and the members of a line; the reference is
docs/reference/logs.md. Must not know what is logged. Source: RFC 3339 for times.
"""

import json
import logging
import re
import sys
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, TextIO

import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter
from structlog.types import EventDict, ExcInfo, WrappedLogger

from fluxpay.observability.current import CURRENT
from fluxpay.observability.errors import TRACEBACK_CHARS_MAX, traced
from fluxpay.observability.outlet import Outlet
from fluxpay.observability.redaction import CUT, Plain, is_unsaid, plain, redacted

LEADING: Final = ("timestamp", "level", "logger", "event")
"""The members that every line has, in this order."""

_IDS: Final = frozenset({"trace_id", "span_id", "tenant_id", "key_id"})
_ID: Final = re.compile(r"[0-9a-z_]{1,64}")
_RESERVED: Final = frozenset({*LEADING, "exception"})
_OWN: Final = "fluxpay"

_IN_USE: Final[list[Outlet]] = []


def logger(name: str) -> BoundLogger:
    """Give a logger of ours, below `fluxpay`; a line is `log.info("an_event", member=value)`."""
    return BoundLogger(logging.getLogger(name), [ProcessorFormatter.wrap_for_formatter], {})


def set_up(level: str, style: str, *, stream: TextIO | None = None) -> Outlet:
    """Send all that this process logs to stderr from now on.

    Args:
        level: The least severe line that is written.
        style: `json`, or `console` for a person.
        stream: Where to instead.
    """
    to = sys.stderr if stream is None else stream
    written = formatter(style)
    source = logging.getLogger("fluxpay.log")

    def failure(record: logging.LogRecord, error: Exception) -> str:
        # Not what it was to say: that is what could not be written.
        members = {"of": record.name, "error": type(error).__name__}
        return written.format(_own_record(source, logging.ERROR, "line_unwritable", members))

    def told_dropped(count: int) -> str:
        members = {"lines": count}
        return written.format(_own_record(source, logging.WARNING, "lines_dropped", members))

    outlet = Outlet(to.fileno(), failure=failure, dropped=told_dropped)
    outlet.setFormatter(written)
    _IN_USE[:] = [outlet]
    logging.basicConfig(level=level, handlers=[outlet], force=True)
    logging.captureWarnings(capture=True)
    _quieten(level)
    _catch_the_uncaught()
    return outlet


def dropped() -> int:
    """Tell how many lines of this process found no room and are lost."""
    return sum(outlet.dropped for outlet in _IN_USE)


def formatter(style: str) -> logging.Formatter:
    """Make what turns any record into its line."""
    render = _as_text if style == "console" else _as_json
    return ProcessorFormatter(
        foreign_pre_chain=[_tell_of_libraries],
        processors=[
            structlog.contextvars.merge_contextvars,
            _tell_what_went_wrong,
            _complete,
            render,
        ],
    )


def _quieten(level: str) -> None:
    # It warns of what then ends the process with a line of its own, and tells bodies at DEBUG.
    logging.getLogger("kubernetes").setLevel(logging.ERROR)
    if level != "DEBUG":
        # It tells each request that is tried again as an error, and each start in six lines.
        logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.getLevelName(level)))


def _catch_the_uncaught() -> None:
    """Have what ends the process, a thread or a finalizer told in the same way."""
    log = logger("fluxpay")

    def uncaught(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        log.critical("process_failed", exc_info=error)

    def uncaught_in_thread(told: threading.ExceptHookArgs) -> None:
        if told.exc_value is not None and not isinstance(told.exc_value, SystemExit):
            name = told.thread.name if told.thread is not None else None
            log.error("thread_failed", thread=name, exc_info=told.exc_value)

    def unraisable(told: "sys.UnraisableHookArgs") -> None:
        log.error("exception_ignored", exc_info=told.exc_value)

    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread
    sys.unraisablehook = unraisable


def _own_record(
    source: logging.Logger, level: int, event: str, members: dict[str, Any]
) -> logging.LogRecord:
    args, options = ProcessorFormatter.wrap_for_formatter(
        source, logging.getLevelName(level).lower(), {"event": event, **members}
    )
    record = logging.LogRecord(source.name, level, "", 0, "", None, None)
    record.msg = args[0]
    record.__dict__.update(options["extra"])
    return record


def _tell_of_libraries(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    record: logging.LogRecord = line["_record"]
    if record.name == "asyncio":
        # It goes on with the repr of a task, in which an exception tells its text.
        line["event"] = line["event"].partition("\n")[0]
    about = getattr(record, "k8s_ref", None)
    if isinstance(about, dict):
        # What kopf says about a resource names it there.
        line["namespace"], line["resource"] = about.get("namespace"), about.get("name")
    return line


def _tell_what_went_wrong(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    told: ExcInfo | BaseException | bool | None = line.pop("exc_info", None)
    line.pop("stack_info", None)
    if told is True:
        told = sys.exception()
    error = told[1] if isinstance(told, tuple) else told
    if isinstance(error, BaseException):
        line["exception"] = redacted(traced(error), chars_max=TRACEBACK_CHARS_MAX)
    return line


def _complete(_: WrappedLogger, __: str, line: EventDict) -> dict[str, Any]:
    """Put the members in order: what every line has, the ids, what this line says."""
    record: logging.LogRecord = line.pop("_record")
    line.pop("_from_structlog", None)
    instant = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    whole: dict[str, Plain] = {
        "timestamp": instant.replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": redacted(record.name, chars_max=200),
        "event": redacted(str(line.pop("event", ""))),
    }
    current = CURRENT.get()
    if current is not None:
        whole |= {"trace_id": current.trace_id, "span_id": current.span_id}
        if current.tenant_id:
            whole |= {"tenant_id": current.tenant_id, "key_id": current.key_id}
    exception = line.pop("exception", None)
    for name, value in line.items():
        if name not in _RESERVED and value is not None:
            whole[name] = _member(name, value)
    if exception is not None:
        whole["exception"] = exception
    return whole


def _member(name: str, value: object) -> Plain:
    if name in _IDS and isinstance(value, str) and _ID.fullmatch(value):
        # Made by machines: one in some thousands has digits that could be a card's.
        return value
    return CUT if is_unsaid(name) else plain(value)


def _as_json(_: WrappedLogger, __: str, line: EventDict) -> str:
    return json.dumps(line)


def _as_text(_: WrappedLogger, __: str, line: EventDict) -> str:
    head = f"{line['timestamp']} {line['level']:<8} {line['logger']} {_escaped(line['event'])}"
    exception = line.pop("exception", "")
    members = [f"{name}={_shown(value)}" for name, value in line.items() if name not in LEADING]
    # A traceback is for reading. Each of its lines is marked, so none passes for another event.
    frames = [f"    | {_escaped(one)}" for one in exception.splitlines()]
    return "\n".join([" ".join([head, *members]), *frames])


def _shown(value: Plain) -> str:
    if isinstance(value, str):
        is_plain = value.isascii() and value.isprintable() and not set(' "=\\') & set(value)
        return value if is_plain and value else json.dumps(value)
    return json.dumps(value)


def _escaped(text: str) -> str:
    """Write all but printable ASCII as JSON would."""
    if text.isascii() and text.isprintable():
        return text
    return json.dumps(text)[1:-1].replace('\\"', '"')
