"""Whether the operator is well: what its probes answer.

Alive means that the loop turns, that the watches were heard of lately and that the Lease is being
renewed or waited for: each of them can die without the process, and a new process is the cure.
Ready means alive, and that the cluster's tenants could be read. Must not know HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fluxpay.observability.probes import verdict

if TYPE_CHECKING:
    from fluxpay_operator.leadership import Leadership
    from fluxpay_operator.watching import Hearing

WATCH_SILENCE_S_MAX: Final = 180.0
LEASE_SILENCE_S_MAX: Final = 60.0


@dataclass(slots=True)
class Vitals:
    """What tells whether the operator is well.

    Args:
        monotonic_s: A clock that is never set.
        has_started: Set once tenants could be read and the watches are under way.
    """

    hearing: Hearing
    leadership: Leadership
    monotonic_s: Callable[[], float]
    has_started: bool = False

    def checks(self) -> dict[str, str]:
        """What keeps it alive."""
        lease_s = self.monotonic_s() - self.leadership.tried_s
        return {
            "watch": verdict(self.hearing.silence_s, at_most=WATCH_SILENCE_S_MAX),
            "lease": verdict(lease_s, at_most=LEASE_SILENCE_S_MAX),
        }

    def readiness(self) -> dict[str, str]:
        """Whether it has begun."""
        return {"start": "ok" if self.has_started else "down"}

    def about(self) -> dict[str, str]:
        """Whether it acts or stands by."""
        return {"role": "leader" if self.leadership.is_leader else "standby"}
