"""Commits as they are measured and traced: many payments of many requests in one.

A commit belongs to no request, so its span begins a trace of its own. It links to the spans of the
requests whose payments it took, and theirs link back. One that took no sampled payment has none.

Must not know what a payment means, nor how it is committed.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from time import perf_counter, time_ns
from typing import NamedTuple

from opentelemetry.trace import SpanKind

from fluxpay.core.payment_creation import Posting
from fluxpay.observability.ended_spans import Form, Value
from fluxpay.observability.spans import new_ids, recorder
from fluxpay.stores.peers import Peer
from fluxpay.web.request_spans import database_attributes, error_attributes
from fluxpay.web.telemetry import Metrics
from fluxpay.web.tracing import Recording, current_recording


class Mark(NamedTuple):
    """A payment of a sampled request."""

    recording: Recording
    payment_id: str


class Commits:
    """Looks on while payments are committed.

    Args:
        peer: Tells where they are.
    """

    def __init__(self, metrics: Metrics, peer: Callable[[], Peer]) -> None:
        self._metrics = metrics
        self._peer = peer

    def queued(self, posting: Posting) -> Mark | None:
        """Mark a payment whose request is sampled."""
        recording = current_recording()
        return None if recording is None else Mark(recording, posting.payment.id)

    def begun(self, marks: Sequence[Mark | None]) -> Callable[[Exception | None], None]:
        """Measure a commit; trace it if any of its payments is."""
        size, begun_s = len(marks), perf_counter()
        sampled = [mark for mark in marks if mark is not None]
        traced = self._traced(sampled, size) if sampled else None

        def ended(error: Exception | None) -> None:
            self._metrics.batch_committed(size, perf_counter() - begun_s)
            if traced is not None:
                traced(error)

        return ended

    def _traced(self, marks: Sequence[Mark], size: int) -> Callable[[Exception | None], None]:
        ids, started_ns = new_ids(), time_ns()
        for mark in marks:
            mark.recording.commits.setdefault(mark.payment_id, []).append(ids)

        def ended(error: Exception | None) -> None:
            own: dict[str, Value] = {} if error is None else error_attributes(error)
            if size > 1:
                # The conventions leave out a batch of one, which is none.
                own["db.operation.batch.size"] = size
            recording = recorder()
            if recording is not None and recording.admits(1):
                recording.record(
                    _form(self._peer()),
                    ids,
                    None,
                    start_ns=started_ns,
                    end_ns=time_ns(),
                    own=own,
                    linked=[mark.recording.ids for mark in marks],
                    is_error=error is not None,
                )

        return ended


@lru_cache(maxsize=64)
def _form(peer: Peer) -> Form:
    attributes = database_attributes(peer, operation="post_payments", collection="payments")
    return Form("post_payments payments", SpanKind.CLIENT, attributes)
