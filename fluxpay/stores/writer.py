"""Group commit: while one commit is under way the next payments queue, and then go together.

No timer: an idle service commits each payment at once, a busy one commits more of them with every
statement. Each payment gets its own answer. A batch that fails as a whole is tried one by one, so
that only the culprit fails; a batch whose reply was lost is sent again, since `post_payments`
answers a repeated item with what the first call committed.

Knows the queue and the one SQL function; must not know what a payment means.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import psycopg2

from fluxpay.core.idempotency import Expired, Mismatched, Posted, Replayed, StoredReply
from fluxpay.stores.commits import UNWATCHED, CommitWatch
from fluxpay.stores.problems import (
    SerializationLost,
    StatementTimedOut,
    StoreUnavailable,
)
from fluxpay.stores.records import until_settled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxpay.core.payment_creation import Posting
    from fluxpay.stores.pool import Pool

Answer = Posted | Replayed | Mismatched | Expired

QUEUE_MAX: Final = 4096
_SQL: Final = "SELECT * FROM post_payments(%s::json)"
# What concerns a single item and leaves the others without fault.
_POISON: Final = (psycopg2.IntegrityError, psycopg2.DataError, psycopg2.InternalError)
# A batch belongs to none of the requests in it, least of all to the one that happened to wake us.
_NOBODYS: Final = Context()


class QueueFull(StoreUnavailable):
    """More payments wait for a commit than can be served in time."""


class _Queued(NamedTuple):
    posting: Posting
    answer: asyncio.Future[Answer]
    mark: object | None


class PaymentWriter:
    """Commits payments, many at a time.

    Args:
        pool: Where connections come from.
        batch_max: The most payments of one statement. More make convoys, fewer make round trips.
        writers_max: How many batches may be under way at once.
        watch: Looks on.
    """

    def __init__(
        self, pool: Pool, *, batch_max: int, writers_max: int, watch: CommitWatch = UNWATCHED
    ) -> None:
        # Kept, since asking for it is a system call before Python 3.12, and every payment asks.
        self._loop = asyncio.get_running_loop()
        self._pool = pool
        self._batch_max = batch_max
        self._writers_max = writers_max
        self._watch = watch
        self._queue: deque[_Queued] = deque()
        self._writing = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake_up: asyncio.Handle | None = None

    @property
    def waiting(self) -> int:
        """Payments that no commit has taken yet."""
        return len(self._queue)

    async def post(self, posting: Posting) -> Answer:
        """Commit one payment, together with whatever else is waiting.

        A caller that is cancelled gives up its answer, not the commit: once a payment is in a
        batch, its fate is the database's to tell.

        Raises:
            QueueFull: Too many are waiting.
            StoreError: The database could not be asked, or the outcome could not be learnt.
            psycopg2.Error: The payment breaks a constraint; a bug, since the core checks first.
        """
        if len(self._queue) >= QUEUE_MAX:
            message = f"{QUEUE_MAX} payments wait to be committed"
            raise QueueFull(message)
        queued = _Queued(posting, self._loop.create_future(), self._watch.queued(posting))
        self._queue.append(queued)
        self._wake_writer()
        return await queued.answer

    async def close(self) -> None:
        """Commit all that is queued; nothing may be posted any more."""
        while self._queue or self._tasks:
            self._wake_writer()
            # Lets a writer that was only just woken become a task that can be waited for.
            await asyncio.sleep(0)
            if self._tasks:
                await asyncio.wait(self._tasks)

    def _wake_writer(self) -> None:
        if self._wake_up is None and self._writing < self._writers_max:
            # Not at once, but when this turn of the loop ends: its other payments join.
            self._wake_up = self._loop.call_soon(self._start_writer, context=_NOBODYS)

    def _start_writer(self) -> None:
        self._wake_up = None
        self._writing += 1
        task = self._loop.create_task(self._write(), name="payment writer")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self) -> None:
        while batch := self._take_batch():
            if self._queue:
                self._wake_writer()
            await self._settle(batch)
        # In the very step that found the queue empty: a payment that queues next must see that
        # this writer is gone, though its task has not quite ended.
        self._writing -= 1

    def _take_batch(self) -> list[_Queued]:
        batch: list[_Queued] = []
        while self._queue and len(batch) < self._batch_max:
            queued = self._queue.popleft()
            # Nobody waits any more, and nothing was sent: not posting it is the truth.
            if not queued.answer.done():
                batch.append(queued)
        return batch

    async def _settle(self, batch: list[_Queued]) -> None:
        try:
            answers = await self._commit(batch)
        except (*_POISON, StatementTimedOut) as error:
            if len(batch) == 1:
                _refuse(batch, error)
                return
            for queued in batch:
                await self._settle([queued])
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            _refuse(batch, error)
        else:
            for queued, answer in zip(batch, answers, strict=True):
                if not queued.answer.done():
                    queued.answer.set_result(answer)

    async def _commit(self, batch: list[_Queued]) -> list[Answer]:
        """Send a batch until its outcome is known, or the attempts are spent."""
        postings = [queued.posting for queued in batch]
        items = items_of(postings)
        ended = self._watch.begun([queued.mark for queued in batch])
        try:
            answers = await until_settled(lambda: self._send(items, postings))
        except Exception as error:
            ended(error)
            raise
        ended(None)
        return answers

    async def _send(self, items: str, postings: Sequence[Posting]) -> list[Answer]:
        async with self._pool.connection() as connection:
            rows = await connection.fetch_all(_SQL, (items,))
        by_payment = {row[0]: row[1:] for row in rows}
        return [answer_of(posting, by_payment[posting.payment.id]) for posting in postings]


def _refuse(batch: list[_Queued], error: Exception) -> None:
    for queued in batch:
        if not queued.answer.done():
            queued.answer.set_exception(error)


def answer_of(posting: Posting, row: tuple[Any, ...]) -> Answer:
    """What a row of `post_payments` says about this posting; the row without the payment's id."""
    outcome, resource_id, status, body, location = row
    match outcome:
        case "posted":
            return Posted()
        case "replayed":
            fingerprint = posting.claim.fingerprint
            return Replayed(StoredReply(fingerprint, status, body.encode(), location))
        case "mismatched":
            return Mismatched()
        case "expired":
            return Expired(resource_id)
        case _:
            # The key was in use a moment ago and is free now.
            message = f"post_payments() left a payment {outcome}"
            raise SerializationLost(message)


def items_of(postings: Sequence[Posting]) -> str:
    """Postings as `post_payments` reads them."""
    return msgspec.json.encode([_item(posting) for posting in postings]).decode()


def _item(posting: Posting) -> dict[str, object]:
    """One payment as `post_payments` reads it."""
    claim, payment, transfer = posting.claim, posting.payment, posting.transfer
    return {
        "tenant_id": claim.tenant_id,
        "idempotency_key": claim.key,
        "fingerprint": claim.fingerprint,
        "payment_id": payment.id,
        "amount": payment.money.amount_minor,
        "currency": payment.money.currency,
        "payment_status": payment.status,
        "amount_captured": payment.amount_captured_minor,
        "amount_refunded": payment.amount_refunded_minor,
        "capture": payment.capture,
        "description": payment.description,
        "reference": payment.reference,
        "metadata": payment.metadata,
        "created_at": payment.created_at,
        "expires_at": payment.expires_at,
        "transfer_id": transfer.id,
        "transfer_kind": transfer.kind,
        "debit_account_id": transfer.debit.id,
        "debit_kind": transfer.debit.kind,
        "credit_account_id": transfer.credit.id,
        "credit_kind": transfer.credit.kind,
        "event_id": posting.event.id,
        "event_type": posting.event.type,
        "reply_status": posting.reply.status,
        "reply_body": posting.reply.body.decode(),
        "reply_location": posting.reply.location,
    }
