"""The fraud rules one by one, and the laws of an assessment made of any rules."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxpay.core.fraud import (
    RULES,
    AmountThreshold,
    Finding,
    PaymentLimit,
    Rule,
    Signal,
    Velocity,
    VelocityThreshold,
    assess,
)
from fluxpay.core.money import Money
from tests.core.examples import EUROS, NOW, tenant

LIMIT = PaymentLimit(
    "EUR",
    max_amount_minor=2000,
    daily_volume_minor=9000,
    velocity_count=3,
    velocity_window_s=60,
)
SIGNAL = Signal(
    tenant=tenant(),
    money=EUROS,
    description=None,
    reference=None,
    metadata={},
    now=NOW,
    limit=LIMIT,
)


@dataclass(frozen=True, slots=True)
class Stranger:
    """A rule as a third party writes one; it inherits from nothing."""

    name: str
    rejects: bool = True

    def evaluate(self, signal: Signal) -> Finding | None:
        return Finding(self.name, signal.money.currency) if self.rejects else None


def test_the_built_in_rules_are_asked_amount_first() -> None:
    assert ("amount_threshold", "velocity") == tuple(rule.name for rule in RULES)


@pytest.mark.parametrize(
    ("amount_minor", "finding"),
    [
        (1, None),
        (2000, None),
        (2001, Finding("amount_threshold", "A single payment may be at most 20.00 EUR.")),
    ],
)
def test_an_amount_is_rejected_above_the_most_a_payment_may_be(
    amount_minor: int, finding: Finding | None
) -> None:
    signal = replace(SIGNAL, money=Money(amount_minor, "EUR"))
    assert finding == AmountThreshold().evaluate(signal)


TOO_MANY = Finding("velocity", "At most 3 payments in EUR are taken in 60 s.")
TOO_MUCH = Finding("velocity", "At most 90.00 EUR are taken in a day.")


@pytest.mark.parametrize(
    ("velocity", "finding"),
    [
        (None, None),
        (Velocity(count=3, volume_minor=9000), None),
        (Velocity(count=4, volume_minor=9000), TOO_MANY),
        (Velocity(count=3, volume_minor=9001), TOO_MUCH),
        (Velocity(count=4, volume_minor=9001), TOO_MANY),
    ],
)
def test_a_velocity_is_rejected_above_the_count_first_and_the_volume_second(
    velocity: Velocity | None, finding: Finding | None
) -> None:
    assert finding == VelocityThreshold().evaluate(replace(SIGNAL, velocity=velocity))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_without_a_limit_no_built_in_rule_rejects(rule: Rule) -> None:
    unlimited = replace(SIGNAL, limit=None, velocity=Velocity(10**9, 10**15))
    assert None is rule.evaluate(unlimited)


@pytest.mark.parametrize(
    ("limit", "counts"),
    [
        (PaymentLimit("EUR", 2000), False),
        (PaymentLimit("EUR", 2000, daily_volume_minor=1), True),
        (PaymentLimit("EUR", 2000, velocity_count=1, velocity_window_s=1), True),
    ],
)
def test_a_limit_is_counted_only_where_it_limits_a_count(limit: PaymentLimit, counts: bool) -> None:
    assert counts is limit.counts


velocities = st.builds(Velocity, st.integers(0, 6), st.integers(0, 12_000))


@given(velocities)
def test_the_rule_rejects_exactly_what_a_counter_does_not_count(velocity: Velocity) -> None:
    finding = VelocityThreshold().evaluate(replace(SIGNAL, velocity=velocity))
    assert velocity.exceeds(LIMIT) is (finding is not None)


rules = st.lists(st.builds(Stranger, st.text(max_size=5), st.booleans()), max_size=8)


@given(rules)
def test_findings_keep_the_order_of_the_rules_and_the_first_one_rejects(
    asked: list[Stranger],
) -> None:
    rejecting = [Finding(rule.name, "EUR") for rule in asked if rule.rejects]
    assessment = assess(SIGNAL, asked)
    assert tuple(rejecting) == assessment.findings
    assert (rejecting[0] if rejecting else None) == assessment.rejection


def test_a_rule_of_others_joins_behind_the_built_in_ones() -> None:
    signal = replace(SIGNAL, money=Money(2001, "EUR"), velocity=Velocity(4, 0))
    names = [finding.rule for finding in assess(signal, (*RULES, Stranger("mine"))).findings]
    assert ["amount_threshold", "velocity", "mine"] == names


def test_a_rule_that_raises_is_not_passed_over() -> None:
    class Broken:
        name = "broken"

        def evaluate(self, signal: Signal) -> Finding | None:
            raise LookupError(signal.money.currency)

    with pytest.raises(LookupError):
        assess(SIGNAL, (Broken(),))
