"""Work that nobody asked for over HTTP: a round of the worker, a reconcile of the operator.

While it lasts it is the current one, so that its log lines and its spans carry one trace id, and
whoever it calls can be told of it. What it does along the way are its parts. Sampled like a request
without a parent; unsampled it notes nothing.

Must not know what the work is.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from time import time_ns
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import SpanContext, SpanKind

from fluxpay.observability.current import CURRENT
from fluxpay.observability.ended_spans import Form, Value
from fluxpay.observability.spans import Recorder, new_ids, recorder

_NO_PARENT: Final = Context()
_REFUSED_FROM: Final = 400
_PORTS: Final = {"http": 80, "https": 443}


class _Part(NamedTuple):
    name: str
    ids: SpanContext
    attributes: Mapping[str, Value]
    started_ns: int
    ended_ns: int
    is_error: bool


class Part:
    """Something that is done for a piece of work, by somebody else.

    Args:
        attributes: More may be added while it lasts.
    """

    __slots__ = ("attributes", "ids", "is_error", "is_sampled")

    def __init__(self, ids: SpanContext, attributes: dict[str, Value], *, is_sampled: bool) -> None:
        self.ids = ids
        self.attributes = attributes
        self.is_sampled = is_sampled
        self.is_error = False

    @property
    def traceparent(self) -> str:
        """What the other side is told, as the header of that name."""
        flags = "01" if self.is_sampled else "00"
        return f"00-{self.ids.trace_id:032x}-{self.ids.span_id:016x}-{flags}"

    def answered(self, status: int) -> None:
        """Say what an HTTP server answered; a refusal is a failure of whoever asked."""
        self.attributes["http.response.status_code"] = status
        if status >= _REFUSED_FROM:
            self.failed(str(status))

    def failed(self, kind: str) -> None:
        """Say that it failed, in one of few words."""
        self.is_error = True
        self.attributes["error.type"] = kind


class Work:
    """A piece of work under way.

    Args:
        name: What its span is called.
        is_sampled: Whether spans of it are recorded.
    """

    __slots__ = (
        "_begun_ns",
        "_ids",
        "_parts",
        "attributes",
        "is_error",
        "is_sampled",
        "key_id",
        "name",
        "span_id",
        "tenant_id",
        "trace_id",
    )

    def __init__(self, name: str, ids: SpanContext, *, is_sampled: bool) -> None:
        self.name = name
        self.trace_id = f"{ids.trace_id:032x}"
        self.span_id = f"{ids.span_id:016x}"
        self.is_sampled = is_sampled
        self.tenant_id = ""
        self.key_id = ""
        self.attributes: dict[str, Value] = {}
        self.is_error = False
        self._ids = ids
        self._begun_ns = time_ns()
        self._parts: list[_Part] = []

    def forget(self) -> None:
        """Record nothing of it after all: there was nothing to do."""
        self.is_sampled = False

    def failed(self, error: BaseException) -> None:
        """Say that it failed."""
        self.is_error = True
        self.attributes["error.type"] = type(error).__name__

    def begin(self, attributes: dict[str, Value]) -> Part:
        """Begin a part of it."""
        return Part(new_ids(self._ids.trace_id), attributes, is_sampled=self.is_sampled)

    def end(self, name: str, part: Part, *, started_ns: int) -> None:
        """End a part of it."""
        if self.is_sampled:
            self._parts.append(
                _Part(name, part.ids, part.attributes, started_ns, time_ns(), part.is_error)
            )

    def record(self, to: Recorder) -> None:
        """Hand over its spans, its own last."""
        if not to.admits(1 + len(self._parts)):
            return
        for part in self._parts:
            to.record(
                _form(part.name, SpanKind.CLIENT),
                part.ids,
                self._ids,
                start_ns=part.started_ns,
                end_ns=part.ended_ns,
                own=part.attributes,
                is_error=part.is_error,
            )
        if self.tenant_id:
            self.attributes["fluxpay.tenant.id"] = self.tenant_id
        to.record(
            _form(self.name, SpanKind.INTERNAL),
            self._ids,
            None,
            start_ns=self._begun_ns,
            end_ns=time_ns(),
            own=self.attributes,
            is_error=self.is_error,
        )


@contextmanager
def working(name: str) -> Iterator[Work]:
    """Do a piece of work in the block."""
    to, ids = recorder(), new_ids()
    sampled = Decision.RECORD_AND_SAMPLE
    is_sampled = to is not None and to.decide(ids.trace_id, _NO_PARENT).decision is sampled
    work = Work(name, ids, is_sampled=is_sampled)
    outer = CURRENT.set(work)
    try:
        yield work
    except BaseException as error:
        work.failed(error)
        raise
    finally:
        CURRENT.reset(outer)
        if to is not None and work.is_sampled:
            work.record(to)


@contextmanager
def asking(name: str, attributes: dict[str, Value]) -> Iterator[Part]:
    """Ask somebody else for a part of the current work, in the block.

    Args:
        name: What its span is called; one of few.
        attributes: What the span says.
    """
    current = CURRENT.get()
    work = current if isinstance(current, Work) else None
    part = Part(new_ids(), attributes, is_sampled=False) if work is None else work.begin(attributes)
    started_ns = time_ns()
    try:
        yield part
    except BaseException as error:
        part.failed(type(error).__name__)
        raise
    finally:
        if work is not None:
            work.end(name, part, started_ns=started_ns)


def place_of(url: str) -> dict[str, Value]:
    """Say where a server is, as the span of a call to it does."""
    place = urlsplit(url)
    port = place.port or _PORTS.get(place.scheme, 0)
    return {"server.address": place.hostname or "", "server.port": port}


def shown_url(url: str) -> str:
    """Give a URL as the span of a call to it tells it: without user and password."""
    place = urlsplit(url)
    return place._replace(netloc=place.netloc.rpartition("@")[2]).geturl()


@lru_cache(maxsize=256)
def _form(name: str, kind: SpanKind) -> Form:
    return Form(name, kind, {})
