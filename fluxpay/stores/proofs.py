"""One proof of the books at a time, among all workers: who may begin, who is at it, what came out.

Knows the one row of `ledger_proof`. A claim is not a lock: it holds over statements and through
poolers, and ends by silence when its holder has died. Must not know how books are proven.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from fluxpay.stores.pool import Pool

SILENCE_S_MAX: Final = 60
"""Whoever proves and is not heard of for so long has died."""

_CLAIM: Final = """
    UPDATE ledger_proof SET begun_at = clock_timestamp(), heard_at = clock_timestamp()
    WHERE coalesce(ended_at, '-infinity') <= clock_timestamp() - make_interval(secs => %s)
      AND coalesce(heard_at, '-infinity') <= clock_timestamp() - make_interval(secs => %s)
    RETURNING begun_at
"""
_HEARD: Final = "UPDATE ledger_proof SET heard_at = clock_timestamp() WHERE begun_at = %s"
_END: Final = """
    UPDATE ledger_proof SET heard_at = NULL, ended_at = clock_timestamp(), findings = %s
    WHERE begun_at = %s
"""
_GIVE_UP: Final = "UPDATE ledger_proof SET heard_at = NULL WHERE begun_at = %s"


class Proofs:
    """Claims proofs; a claim is named by the instant of its beginning.

    Every method raises StoreError when the database could not be asked.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self, *, interval_s: float) -> datetime | None:
        """Begin, if the last proof ended longer ago than this and nobody is at another."""
        async with self._pool.connection() as connection:
            row = await connection.fetch_one(_CLAIM, (interval_s, SILENCE_S_MAX))
        return None if row is None else row[0]

    async def heard(self, claim: datetime) -> None:
        """Give a sign of life."""
        await self._execute(_HEARD, claim)

    async def end(self, claim: datetime, *, findings: int) -> None:
        """Tell what was found, all books having been read to their end."""
        await self._execute(_END, findings, claim)

    async def give_up(self, claim: datetime) -> None:
        """Let another begin at once."""
        await self._execute(_GIVE_UP, claim)

    async def _execute(self, sql: str, *values: object) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(sql, values)
