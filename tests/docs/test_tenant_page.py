"""The page about `Tenant` lists the fields, bounds, defaults and rules of the definition."""

from __future__ import annotations

import pytest

from fluxpay_operator.rules import RESOURCE
from tests.docs.pages import read, table
from tests.docs.tenant_fields import rows, rules, schema

PAGE = read("docs/reference/tenant.md")


@pytest.mark.parametrize("part", ["spec", "status"])
def test_every_field_is_listed_as_the_definition_has_it(part: str) -> None:
    assert list(rows(schema()["properties"][part])) == table(PAGE, part.capitalize())


def test_every_rule_of_the_spec_is_listed_in_its_words() -> None:
    spec = [*rules(schema()["properties"]["spec"], "spec")]
    whole = [
        [f"`{rule.field or '.metadata.name'}`".replace("`.", "`"), rule.message]
        for rule in RESOURCE
    ]
    assert [*spec, *whole] == table(PAGE, "Rules")


def test_the_windows_of_quotas_slide_and_those_of_velocity_do_not() -> None:
    told = {row[0]: row[-1] for row in table(PAGE, "Spec")}
    windows = ("`rateLimits[].window`", "`paymentLimits[].velocity.window`")
    # As `admits` in fluxpay/core/limits.py and count_velocity.lua count.
    assert [True, False] == ["sliding" in told[window] for window in windows]
    assert [False, True] == ["are fixed" in told[window] for window in windows]
