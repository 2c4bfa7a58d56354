"""What the worker does: let authorizations expire, seal the ledger, measure and prove the books.

Knows what one round of each job is, and how large. Any number of workers may run the same round
at once: a payment is locked while it expires, and only one worker at a time seals. Must not know
how often a round comes, nor what becomes of a fault of the store.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import psycopg2
from uuid_utils import uuid7

from fluxpay.observability import errors, logs
from fluxpay.stores.measuring import Measuring, Standing
from fluxpay.stores.payment_changes import PaymentChanges
from fluxpay.stores.problems import SerializationLost, StatementTimedOut
from fluxpay.stores.sealing import Sealing

EXPIRY_INTERVAL_S: Final = 5.0
SEAL_INTERVAL_S: Final = 0.5
MEASURE_INTERVAL_S: Final = 15.0
EXPIRED_MAX: Final = 100
# About a tenth of a second: a worker that is told to stop ends soon, and the statement is far from
# its time limit on a slow disk too.
SEALED_MAX: Final = 1000
# Longer than a round and the pause after faults may take together, by all their limits.
SILENCE_S_MAX: Final = 120.0

_LOG: Final = logs.logger("fluxpay.worker")


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one round: how much was done, and whether as much again is waiting."""

    done: int
    has_more: bool


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do again and again.

    Args:
        name: In a log line, what failed.
        did: In a log line, what was done and counted; empty where that is nothing to tell of.
        interval_s: From the end of a round to the next, when nothing more is waiting.
        run: Does one round.
        silence_s_max: How long a round may be silent before the worker is no longer alive.
    """

    name: str
    did: str
    interval_s: float
    run: Callable[[], Awaitable[Round]]
    silence_s_max: float = SILENCE_S_MAX


async def seal(sealing: Sealing, *, at_most: int = SEALED_MAX) -> Round:
    """Seal once; a full round means that more may be waiting.

    Raises: StoreError.
    """
    sealed = await sealing.seal(at_most)
    # Going on until nothing is left would make a seal of every payment on a busy service.
    return Round(sealed, has_more=sealed >= at_most)


async def measure(measuring: Measuring, *, show: Callable[[Standing], None]) -> Round:
    """Look at the books once, and show how they stand.

    Raises: StoreError.
    """
    show(await measuring.standing())
    return Round(1, has_more=False)


class Expiry:
    """Releases what is left of authorizations whose time is over.

    Args:
        payments: Finds and expires them.
        now: The clock: the present instant, in UTC.
        at_most: Payments in one round.
    """

    def __init__(
        self,
        payments: PaymentChanges,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        at_most: int = EXPIRED_MAX,
    ) -> None:
        self._payments = payments
        self._now = now
        self._at_most = at_most
        # Due, and refused by the rules because its books are broken. It stays due for ever, so a
        # round looks past it; it is tried again each time, and expires once it was repaired.
        self._stuck: set[str] = set()

    async def run(self) -> Round:
        """Expire what is due, the oldest first.

        Raises: StoreError.
        """
        now, asked = self._now(), self._at_most + len(self._stuck)
        due = await self._payments.due(now=now, at_most=asked)
        self._stuck &= {payment_id for _, payment_id in due}
        # Two workers that go through the same payments in the same order wait for each other.
        random.shuffle(due)
        expired = 0
        for tenant_id, payment_id in due:
            expired += await self._expire(tenant_id, payment_id, now=now)
        # Where nothing expired, the same payments would come again at once.
        return Round(expired, has_more=expired > 0 and len(due) == asked)

    async def _expire(self, tenant_id: str, payment_id: str, *, now: datetime) -> bool:
        try:
            return await self._payments.expire(tenant_id, payment_id, uuid=uuid7().int, now=now)
        except (SerializationLost, StatementTimedOut):
            # Somebody is changing it: the next round finds what became of it.
            return False
        except (ValueError, psycopg2.Error) as error:
            # One broken payment must not keep all others from expiring.
            if payment_id not in self._stuck:
                # A rule says in its own words what is wrong with the books.
                reason = str(error) if isinstance(error, ValueError) else errors.told(error)
                _LOG.error(
                    "payment_cannot_expire",
                    tenant_id=tenant_id,
                    payment_id=payment_id,
                    reason=reason,
                )
            self._stuck.add(payment_id)
            return False
