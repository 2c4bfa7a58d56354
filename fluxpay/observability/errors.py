"""An exception as a log line may tell it: what happened and where, and nobody's data.

The text of an exception may quote what it failed on: a row, a member of a body, a key of a
mapping. So it is shown where its author is known to write about code and machines: classes of our
own, the system's errors, and what Python says of types and names. Of the rest the type tells, and
the frames, which hold no values.

Must not know who reads it, nor any driver: what a database says is told by the shape of its error.
"""

import traceback
from types import TracebackType
from typing import Final

TRACEBACK_CHARS_MAX: Final = 8_000
_FRAMES_MAX: Final = 30
_CHAIN_MAX: Final = 4
_SHOWN: Final = (OSError, TypeError, AttributeError, NameError, ImportError, MemoryError)
_OWN: Final = ("fluxpay", "fluxpay_operator")
# SQLSTATE classes whose text may quote a value: data exceptions.
_QUOTING: Final = ("22",)


def told(error: BaseException) -> str:
    """Give one line: the type, and its text where that may be shown."""
    text = " ".join(_text(error).split())
    kind = type(error).__name__
    return f"{kind}: {text}" if text else kind


def traced(error: BaseException) -> str:
    """Give the traceback with its causes, the end of it if it is long."""
    text = "\n".join(_lines(error, left=_CHAIN_MAX))
    return text if len(text) <= TRACEBACK_CHARS_MAX else f"[cut]{text[-TRACEBACK_CHARS_MAX:]}"


def _text(error: BaseException) -> str:
    said = getattr(error, "diag", None)
    if said is not None:
        # A driver's error: its own text goes on with the row that was refused.
        state = getattr(error, "pgcode", None) or ""
        return "" if state.startswith(_QUOTING) else getattr(said, "message_primary", None) or ""
    is_own = type(error).__module__.partition(".")[0] in _OWN
    return str(error) if is_own or isinstance(error, _SHOWN) else ""


def _lines(error: BaseException, *, left: int) -> list[str]:
    lines: list[str] = []
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and left:
        lines += [*_lines(cause, left=left - 1), "which led to:"]
    lines += _frames(error.__traceback__)
    lines.append(told(error))
    if isinstance(error, BaseExceptionGroup) and left:
        for one in error.exceptions[:_CHAIN_MAX]:
            lines += ["holding:", *_lines(one, left=left - 1)]
    return lines


def _frames(place: TracebackType | None) -> list[str]:
    frames = list(traceback.walk_tb(place))[-_FRAMES_MAX:]
    return [
        f"{frame.f_code.co_filename}:{line} {frame.f_code.co_qualname}" for frame, line in frames
    ]
