"""What is being worked on right now: a request, a round of the worker, a reconcile.

Whoever begins one sets it, and logs and spans read it, so that all they tell of one piece of work
carries the same ids. Must not know what the work is.
"""

from contextvars import ContextVar
from typing import Final, Protocol


class Current(Protocol):
    """A piece of work that is told of under one trace id.

    Args:
        trace_id: 32 lower-case hex digits.
        span_id: 16 lower-case hex digits.
        is_sampled: Whether spans of it are recorded.
        tenant_id: Whose work it is; empty while that is not known, or when it is nobody's.
        key_id: The API key it was asked with; empty where there is none.
    """

    trace_id: str
    span_id: str
    is_sampled: bool
    tenant_id: str
    key_id: str


CURRENT: Final[ContextVar[Current | None]] = ContextVar("CURRENT", default=None)
"""Empty between pieces of work, and for what belongs to none."""
