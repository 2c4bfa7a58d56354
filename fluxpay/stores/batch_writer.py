"""Atomic batches: many payments in one statement, all committed or none.

The same rows as group commit writes, by a function that undoes them all when one cannot be
posted. A batch whose reply was lost is sent again: what it had committed is answered as such.

Knows the one SQL function; must not know what a payment means, nor assess any.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from fluxpay.core.batches import Aborted
from fluxpay.stores.commits import UNWATCHED, CommitWatch
from fluxpay.stores.records import until_settled
from fluxpay.stores.writer import answer_of, items_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxpay.core.batches import Outcome
    from fluxpay.core.effects import PostBatch
    from fluxpay.core.payment_creation import Posting
    from fluxpay.stores.pool import Pool

_AT_ONCE_MAX: Final = 2
_SQL: Final = "SELECT * FROM post_payments_atomically(%s::json)"


class BatchWriter:
    """Commits batches that must not be committed in part.

    Args:
        pool: Where connections come from.
        watch: Looks on; no payment of a batch is marked, since all of them are one effect.
    """

    def __init__(self, pool: Pool, *, watch: CommitWatch = UNWATCHED) -> None:
        self._pool = pool
        self._watch = watch
        # A batch holds its connection for as long as hundreds of payments take: whoever shares
        # the pool must not have to wait for a whole row of them.
        self._turns = asyncio.Semaphore(_AT_ONCE_MAX)

    async def post(self, effect: PostBatch) -> tuple[Outcome, ...]:
        """Commit all, or find out which could not be.

        Raises:
            StoreError: The database could not be asked, or the outcome could not be learnt.
            psycopg2.Error: A payment breaks a constraint; a bug, since the core checks first.
        """
        items = items_of(effect.postings)
        ended = self._watch.begun([None] * len(effect.postings))
        try:
            outcomes = await until_settled(lambda: self._send(items, effect.postings))
        except Exception as error:
            ended(error)
            raise
        ended(None)
        return outcomes

    async def _send(self, items: str, postings: Sequence[Posting]) -> tuple[Outcome, ...]:
        async with self._turns, self._pool.connection() as connection:
            rows = await connection.fetch_all(_SQL, (items,))
        by_payment = {row[0]: row[1:] for row in rows}
        return tuple(_outcome(posting, by_payment[posting.payment.id]) for posting in postings)


def _outcome(posting: Posting, row: tuple[Any, ...]) -> Outcome:
    return Aborted() if row[0] == "aborted" else answer_of(posting, row)
