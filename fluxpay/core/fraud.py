"""Fraud: signals, rules that look at them, and an assessment that explains itself.

A rule is anything with a name and an `evaluate`; it is pure, it sees one signal, and it returns
a finding or nothing. The first finding, in the order of the rules, rejects the payment. Rules of
others join behind the built-in ones (entry point group `fluxpay.fraud_rules`). A rule that raises
is a bug, and the payment is not made: the service fails closed.

Must not know where velocity is counted nor what happens after the assessment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from fluxpay.core.money import Money

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from fluxpay.core.tenants import Tenant


@dataclass(frozen=True, slots=True)
class PaymentLimit:
    """What a tenant may take in one currency, amounts in minor units.

    Args:
        max_amount_minor: The most one payment may be.
        daily_volume_minor: The most all payments of a UTC day may come to.
        velocity_count: The most payments in one velocity window.
        velocity_window_s: The length of that window in seconds.
    """

    currency: str
    max_amount_minor: int
    daily_volume_minor: int | None = None
    velocity_count: int | None = None
    velocity_window_s: int | None = None

    @property
    def counts(self) -> bool:
        """Whether anything has to be counted to hold this limit."""
        return self.velocity_count is not None or self.daily_volume_minor is not None


@dataclass(frozen=True, slots=True)
class Velocity:
    """What a tenant took in one currency, the payment in question included.

    Args:
        count: Payments in this velocity window.
        volume_minor: Minor units in this UTC day.
    """

    count: int
    volume_minor: int

    def exceeds(self, limit: PaymentLimit) -> bool:
        """Tell whether the limit is passed; a payment that passes it is never counted."""
        over_count = limit.velocity_count is not None and self.count > limit.velocity_count
        over_volume = (
            limit.daily_volume_minor is not None and self.volume_minor > limit.daily_volume_minor
        )
        return over_count or over_volume


@dataclass(frozen=True, slots=True)
class Signal:
    """All that a rule may look at.

    Args:
        limit: The tenant's limit for the currency, if it has one.
        velocity: Counted only where the limit asks for it, and only if nothing else rejects.
    """

    tenant: Tenant
    money: Money
    description: str | None
    reference: str | None
    metadata: Mapping[str, str]
    now: datetime
    limit: PaymentLimit | None
    velocity: Velocity | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a rule rejects a payment; the detail is shown to the client."""

    rule: str
    detail: str


class Rule(Protocol):
    """One way to spot a payment that should not be made."""

    @property
    def name(self) -> str:
        """The name that clients see when this rule rejects."""

    def evaluate(self, signal: Signal) -> Finding | None:
        """Look at a signal; a finding rejects the payment."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What all rules found, in their order."""

    findings: tuple[Finding, ...]

    @property
    def rejection(self) -> Finding | None:
        """The finding that rejects the payment."""
        return self.findings[0] if self.findings else None


@dataclass(frozen=True, slots=True)
class AmountThreshold:
    """Rejects a payment above the tenant's largest amount for its currency."""

    name: str = "amount_threshold"

    def evaluate(self, signal: Signal) -> Finding | None:
        """Compare the amount with the limit."""
        limit = signal.limit
        if limit is None or signal.money.amount_minor <= limit.max_amount_minor:
            return None
        most = Money(limit.max_amount_minor, limit.currency)
        return Finding(self.name, f"A single payment may be at most {most}.")


@dataclass(frozen=True, slots=True)
class VelocityThreshold:
    """Rejects a payment when too many, or too much, came in a short time."""

    name: str = "velocity"

    def evaluate(self, signal: Signal) -> Finding | None:
        """Compare what was counted with the limit."""
        limit, velocity = signal.limit, signal.velocity
        if limit is None or velocity is None or not velocity.exceeds(limit):
            return None
        if limit.velocity_count is not None and velocity.count > limit.velocity_count:
            return Finding(
                self.name,
                f"At most {limit.velocity_count} payments in {limit.currency} "
                f"are taken in {limit.velocity_window_s} s.",
            )
        most = Money(limit.daily_volume_minor or 0, limit.currency)
        return Finding(self.name, f"At most {most} are taken in a day.")


RULES: Final[tuple[Rule, ...]] = (AmountThreshold(), VelocityThreshold())
"""The built-in rules, in the order in which they are asked."""


def assess(signal: Signal, rules: Iterable[Rule]) -> Assessment:
    """Ask every rule."""
    findings = [rule.evaluate(signal) for rule in rules]
    return Assessment(tuple([finding for finding in findings if finding is not None]))
