"""How the books stand as a whole: the store's side of what the worker tells to Prometheus.

Knows the functions that may look across tenants, and tell sums alone: see
`schema/0011_measuring.sql`. Must not know what is made of the figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fluxpay.stores.pool import Pool

LAG_MAX: Final = 10_000
"""As far as unsealed transfers are counted."""

_LAG: Final = """
    SELECT transfers, greatest(0, extract(epoch FROM clock_timestamp() - oldest_at))::float8
    FROM ledger_lag(%s)
"""
_IMBALANCE: Final = "SELECT currency, minor FROM ledger_imbalance()"
_PROOF: Final = """
    SELECT findings, extract(epoch FROM ended_at)::float8 FROM ledger_proof
    WHERE ended_at IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """The books at one moment.

    Args:
        unsealed: Transfers that are not sealed yet, at most `LAG_MAX`.
        oldest_age_s: Since the oldest of them was made; 0 when there is none.
        imbalance_minor: Debits minus credits of all statements, by currency.
        findings: What the last proof found; None when there was none.
        proven_at_s: When it came to its end, in Unix time.
    """

    unsealed: int
    oldest_age_s: float
    imbalance_minor: dict[str, int]
    findings: int | None
    proven_at_s: float


class Measuring:
    """Looks at the books of all tenants."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def standing(self) -> Standing:
        """Look once.

        Raises:
            StoreError: The database could not be asked, or not in time.
        """
        async with self._pool.connection() as connection:
            lag = await connection.fetch_one(_LAG, (LAG_MAX,))
            imbalance = await connection.fetch_all(_IMBALANCE)
            proof = await connection.fetch_one(_PROOF)
        unsealed, age_s = lag or (0, None)
        findings, proven_at_s = proof or (None, 0.0)
        sums = {str(currency): int(minor) for currency, minor in imbalance}
        return Standing(unsealed, age_s or 0.0, sums, findings, proven_at_s)
