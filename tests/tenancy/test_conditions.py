"""Conditions tell how a tenant stands, and move only when what they say turns round."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fluxpay_operator.conditions import UNDER_WAY, Standing, Trouble, conditions, flips
from fluxpay_operator.status import Condition, ConditionType, Status

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
WELL = Standing(generation=3, has_quota=True, has_keys=True, keys_wanted=1, is_suspended=False)
DOWN = Trouble("AdminUnavailable", "It fails.", stalls=False)
REFUSED = Trouble("SpecRefused", "It refuses.", stalls=True)


def said(standing: Standing, *before: Condition, now: datetime = NOW) -> dict[str, Condition]:
    told = conditions(standing, Status(conditions=before), now=now)
    return {one.type: one for one in told}


def short(told: dict[str, Condition]) -> str:
    """The six, in their order: `T`, `F` or `?`."""
    return "".join({"Unknown": "?"}.get(one.status, one.status[0]) for one in told.values())


CASES = {
    # Ready, KeysIssued, QuotaApplied, Degraded, Reconciling, Stalled
    "all is well": (WELL, "TTTFFF", "Ready"),
    "suspended, as asked for": (replace(WELL, is_suspended=True), "TTTFFF", "Suspended"),
    "just seen": (
        replace(WELL, has_quota=None, has_keys=None, trouble=UNDER_WAY),
        "???FTF",
        "UnderWay",
    ),
    "nobody can be asked": (
        replace(WELL, has_quota=None, has_keys=None, trouble=DOWN),
        "???TTF",
        "AdminUnavailable",
    ),
    "refused": (
        replace(WELL, has_quota=False, has_keys=None, trouble=REFUSED),
        "F?FTFT",
        "SpecRefused",
    ),
    "a Secret is somebody else's": (
        replace(WELL, has_keys=False, trouble=REFUSED),
        "FFTTFT",
        "SpecRefused",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_six_tell_how_it_stands(case: str) -> None:
    standing, expected, reason = CASES[case]
    told = said(standing)
    assert (expected, reason) == (short(told), told["Ready"].reason)
    assert list(ConditionType) == list(told)
    assert {3} == {one.observed_generation for one in told.values()}
    assert all(one.message for one in told.values())


def test_a_condition_keeps_its_time_until_it_turns_round() -> None:
    first = said(WELL)
    assert {"2026-11-28T12:00:00Z"} == {one.last_transition_time for one in first.values()}
    same = said(WELL, *first.values(), now=LATER)
    assert first == same
    down = replace(WELL, has_quota=None, has_keys=None, trouble=DOWN)
    changed = said(down, *first.values(), now=LATER)
    moved = {
        name for name, one in changed.items() if one.last_transition_time == "2026-11-28T13:00:00Z"
    }
    assert {"Degraded", "Reconciling"} == moved
    previous = Status(conditions=tuple(first.values()))
    assert moved == {one.type for one in flips(previous, tuple(changed.values()))}


def test_what_was_so_of_this_generation_still_is_while_nobody_can_be_asked() -> None:
    down = replace(WELL, has_quota=None, has_keys=None, trouble=DOWN)
    assert "TTTTTF" == short(said(down, *said(WELL).values()))
    newer = replace(down, generation=4)
    assert "???TTF" == short(said(newer, *said(WELL).values()))


def test_a_new_reason_alone_moves_no_time() -> None:
    first = said(replace(WELL, has_quota=None, has_keys=None, trouble=DOWN))
    other = Trouble("AdminNotAdmitted", "Who are you?", stalls=False)
    second = said(
        replace(WELL, has_quota=None, has_keys=None, trouble=other), *first.values(), now=LATER
    )
    assert ("AdminNotAdmitted", "2026-11-28T12:00:00Z") == (
        second["Degraded"].reason,
        second["Degraded"].last_transition_time,
    )


def test_a_message_is_cut_to_what_the_definition_allows() -> None:
    told = said(replace(WELL, has_quota=False, trouble=replace(REFUSED, message="x" * 5000)))
    assert {1024} == {len(told[name].message) for name in ("Ready", "Degraded", "Stalled")}
