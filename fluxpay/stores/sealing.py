"""Sealing the ledger: the store's side of the statements and the digest chain.

Knows the one function that seals. How it seals, and why nothing can overtake it, stands in
`schema/0007_books.sql`. Must not know how often it is called, or by how many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fluxpay.stores.pool import Pool


class Sealing:
    """Copies transfers that nothing can overtake any more into statements and chain."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def seal(self, at_most: int) -> int:
        """Seal the next transfers, and tell how many; 0 also while another worker seals.

        Args:
            at_most: Transfers in one go; more only where one transaction wrote more.

        Raises:
            OutcomeUnknown: The reply was lost; asking again goes on from wherever it ended.
            StoreError: The database could not be asked.
        """
        async with self._pool.connection() as connection:
            row = await connection.fetch_one("SELECT seal_ledger(%s)", (at_most,))
        return 0 if row is None else int(row[0])
