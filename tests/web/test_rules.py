"""Fraud rules of other packages: how they join, and what a broken one does."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from fluxpay.core.fraud import RULES, Finding, Signal
from fluxpay.settings import BadSetting
from fluxpay.web import rules
from tests.web.conftest import Launch
from tests.web.service import PAYMENT


@dataclass(frozen=True, slots=True)
class NoRoundSums:
    """A rule as another package would bring it."""

    name: str = "no_round_sums"

    def evaluate(self, signal: Signal) -> Finding | None:
        """Reject whole thousands."""
        if signal.money.amount_minor % 1000:
            return None
        return Finding(self.name, "Round sums are not taken.")


class Unmakeable:
    def __init__(self) -> None:
        raise RuntimeError("its model\nis missing")


no_round_sums = NoRoundSums(name="an_object")
not_a_rule = object()
same_name = NoRoundSums(name="velocity")
broken: Any = Unmakeable


def installed(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    """Make it look as if packages with these entry points were installed."""
    found = [
        EntryPoint(name=f"rule{number}", value=value, group=rules.GROUP)
        for number, value in enumerate(values)
    ]

    def entry_points(*, group: str) -> list[EntryPoint]:
        return found if group == "fluxpay.fraud_rules" else []

    monkeypatch.setattr(rules, "entry_points", entry_points)


def test_without_packages_the_built_in_rules_are_asked() -> None:
    assert RULES == rules.load_rules()


def test_a_class_and_an_object_join_behind_the_built_in_rules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed(monkeypatch, f"{__name__}:NoRoundSums", f"{__name__}:no_round_sums")
    names = [rule.name for rule in rules.load_rules()]
    assert ["amount_threshold", "velocity", "no_round_sums", "an_object"] == names


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("no_such_package:rule", "ModuleNotFoundError"),
        (f"{__name__}:no_such_name", "AttributeError"),
        (f"{__name__}:broken", "RuntimeError: its model is missing"),
        (f"{__name__}:not_a_rule", "no text `name`"),
        (f"{__name__}:same_name", "is there twice"),
    ],
)
def test_a_broken_rule_stops_the_start_with_one_line(
    monkeypatch: pytest.MonkeyPatch, value: str, told: str
) -> None:
    installed(monkeypatch, value)
    with pytest.raises(BadSetting) as refused:
        rules.load_rules()
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_a_rule_of_another_package_rejects_payments(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, f"{__name__}:NoRoundSums")
    service = await launch()
    answer = await service.pay(body=PAYMENT | {"amount": 3000})
    assert (422, "no_round_sums") == (answer.status, answer.document["rule"])
    assert 201 == (await service.pay()).status
