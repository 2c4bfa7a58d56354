"""A key is issued, registered, rotated, retired and healed, from what there is and no more."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fluxpay.core.key_rotation import (
    HeldKey,
    Holding,
    HoldKey,
    KeyAction,
    KeyObstacle,
    KeyPlan,
    KeyPolicy,
    MintedKey,
    RegisterKey,
    RevokeKey,
    TidyKey,
    Why,
    plan_key,
)
from fluxpay.core.keys import ApiKey, Scope

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
POLICY = KeyPolicy(
    name="till",
    scopes=frozenset({Scope.PAYMENTS_WRITE}),
    expires_after=90 * DAY,
    rotates_every=30 * DAY,
    overlap=HOUR,
)
NEW = MintedKey(
    id="key_new", prefix="fp_test_new", digest="0" * 64, issued_at=NOW, token="fp_test_new_secret"
)
# A digest that begins with zeros rotates exactly when its interval is over.
HELD = HeldKey(
    id="key_old", prefix="fp_test_old", digest="0000" + "1" * 60, issued_at=NOW - 10 * DAY
)


def registered(key: HeldKey = HELD, **changes: object) -> ApiKey:
    """The key as a service has it that was told of it in time."""
    known = ApiKey(
        id=key.id,
        tenant_id="ten_any",
        name="kubernetes:till",
        prefix=key.prefix,
        digest=key.digest,
        scopes=POLICY.scopes,
        created_at=key.issued_at,
        expires_at=key.issued_at + 90 * DAY,
    )
    return replace(known, **changes)  # type: ignore[arg-type]


def terms(key: HeldKey | MintedKey, expires_at: datetime | None) -> RegisterKey:
    return RegisterKey(
        key_id=key.id,
        name="kubernetes:till",
        prefix=key.prefix,
        digest=key.digest,
        scopes=POLICY.scopes,
        allowed_cidrs=(),
        expires_at=expires_at,
    )


def planned(
    held: HeldKey | Holding,
    *known: ApiKey,
    policy: KeyPolicy = POLICY,
    request: str = "",
    now: datetime = NOW,
) -> KeyPlan:
    return plan_key(
        policy, held=held, registered=known, minted=NEW, rotation_request=request, now=now
    )


ISSUED = (HoldKey(POLICY, NEW, Why.FIRST), terms(NEW, NOW + 90 * DAY))
OLD_RETIRES = terms(HELD, NOW + HOUR)
Case = tuple[HeldKey | Holding, tuple[ApiKey, ...], str, tuple[KeyAction, ...]]
WHOLE_HISTORY: dict[str, Case] = {
    "nothing yet": (Holding.MISSING, (), "", ISSUED),
    "held, and the writer died before registering it": (
        HELD,
        (),
        "",
        (terms(HELD, HELD.issued_at + 90 * DAY),),
    ),
    "held and registered": (HELD, (registered(),), "", ()),
    "registered under other scopes": (
        HELD,
        (registered(scopes=frozenset({Scope.LEDGER_READ})),),
        "",
        (terms(HELD, HELD.issued_at + 90 * DAY),),
    ),
    "registered under other networks": (
        HELD,
        (registered(allowed_cidrs=("10.0.0.0/8",)),),
        "",
        (terms(HELD, HELD.issued_at + 90 * DAY),),
    ),
    "something beside the key was edited": (
        replace(HELD, is_tidy=False),
        (registered(),),
        "",
        (TidyKey(POLICY, replace(HELD, is_tidy=False)),),
    ),
    "what held it was deleted": (
        Holding.MISSING,
        (registered(),),
        "",
        (HoldKey(POLICY, NEW, Why.LOST), terms(NEW, NOW + 90 * DAY), OLD_RETIRES),
    ),
    "the key was edited into something else": (
        Holding.BROKEN,
        (registered(),),
        "",
        (HoldKey(POLICY, NEW, Why.LOST), terms(NEW, NOW + 90 * DAY), OLD_RETIRES),
    ),
    "the key was edited, its id was not": (
        replace(HELD, digest="2" * 64),
        (registered(),),
        "",
        (HoldKey(POLICY, NEW, Why.LOST), terms(NEW, NOW + 90 * DAY), OLD_RETIRES),
    ),
    "somebody revoked it": (
        HELD,
        (registered(revoked_at=NOW - HOUR),),
        "",
        (HoldKey(POLICY, NEW, Why.REVOKED), terms(NEW, NOW + 90 * DAY)),
    ),
    "a rotation is asked for": (
        HELD,
        (registered(),),
        "now, please",
        (HoldKey(POLICY, NEW, Why.REQUESTED), terms(NEW, NOW + 90 * DAY), OLD_RETIRES),
    ),
    "what was asked for was done": (
        replace(HELD, rotation_request="now, please"),
        (registered(),),
        "now, please",
        (),
    ),
    "the request was taken back": (
        replace(HELD, rotation_request="now, please"),
        (registered(),),
        "",
        (),
    ),
    "a key that claims to be from the future": (
        replace(HELD, issued_at=NOW + DAY),
        (),
        "",
        (HoldKey(POLICY, NEW, Why.LOST), terms(NEW, NOW + 90 * DAY)),
    ),
    "somebody else's Secret": (Holding.FOREIGN, (registered(),), "", ()),
}


@pytest.mark.parametrize("case", WHOLE_HISTORY)
def test_the_plan_follows_from_what_there_is(case: str) -> None:
    held, known, request, expected = WHOLE_HISTORY[case]
    assert expected == planned(held, *known, request=request).actions


@pytest.mark.parametrize("case", WHOLE_HISTORY)
@pytest.mark.parametrize("steps", range(4))
def test_a_plan_that_is_cut_off_anywhere_is_continued_to_one_valid_current_key(
    case: str, steps: int
) -> None:
    held, known, request, _ = WHOLE_HISTORY[case]
    if held is Holding.FOREIGN:
        return
    world = World(held, {one.id: one for one in known})
    for action in planned(held, *known, request=request).actions[:steps]:
        world.perform(action, request)
    for action in planned(world.held, *world.known.values(), request=request).actions:
        world.perform(action, request)
    assert () == planned(world.held, *world.known.values(), request=request).actions
    assert isinstance(world.held, HeldKey)
    unending = [
        one.id
        for one in world.known.values()
        if one.revoked_at is None and (one.expires_at or NOW + 99 * DAY) > NOW + HOUR
    ]
    assert [world.held.id] == unending
    assert world.held.digest == world.known[world.held.id].digest


class World:
    """A Secret and a service, which do as they are told."""

    def __init__(self, held: HeldKey | Holding, known: dict[str, ApiKey]) -> None:
        self.held = held
        self.known = known

    def perform(self, action: KeyAction, request: str) -> None:
        match action:
            case HoldKey(_, key):
                self.held = HeldKey(key.id, key.prefix, key.digest, key.issued_at, request)
            case TidyKey(_, key):
                self.held = replace(key, is_tidy=True)
            case RegisterKey():
                known = self.known.get(action.key_id) or registered(
                    replace(HELD, id=action.key_id, digest=action.digest, prefix=action.prefix)
                )
                self.known[action.key_id] = replace(
                    known,
                    scopes=action.scopes,
                    allowed_cidrs=action.allowed_cidrs,
                    expires_at=action.expires_at,
                )
            case RevokeKey(key_id):
                self.known[key_id] = replace(self.known[key_id], revoked_at=NOW)


def test_a_key_rotates_when_its_interval_is_over_and_not_before() -> None:
    due = HELD.issued_at + 30 * DAY
    assert () == planned(HELD, registered(), now=due - timedelta(seconds=1)).actions
    why = [
        one.why for one in planned(HELD, registered(), now=due).actions if isinstance(one, HoldKey)
    ]
    assert [Why.DUE] == why


def test_keys_of_one_age_rotate_apart_and_never_late() -> None:
    digests = [f"{number:04x}" + "0" * 60 for number in (0, 0x4000, 0x8000, 0xFFFF)]
    due = [planned(replace(HELD, digest=digest)).rotates_at for digest in digests]
    earliest, latest = HELD.issued_at + 27 * DAY, HELD.issued_at + 30 * DAY
    assert [latest, latest - 0.75 * DAY, latest - 1.5 * DAY] == due[:3]
    assert all(earliest < at <= latest for at in due if at is not None)


def test_the_old_key_is_revoked_once_the_overlap_is_over() -> None:
    current = replace(HELD, id="key_current", digest="3" * 64, issued_at=NOW - HOUR)
    known = registered(current), registered()
    assert (RevokeKey(HELD.id),) == planned(current, *known).actions


def test_the_old_key_works_on_during_the_overlap_and_is_told_of() -> None:
    current = replace(HELD, id="key_current", digest="3" * 64, issued_at=NOW - HOUR / 2)
    ends_at = NOW + HOUR / 2
    plan = planned(current, registered(current), registered(expires_at=ends_at))
    assert ((), (terms(HELD, ends_at),)) == (plan.actions, plan.retiring)


def test_an_old_key_that_ends_sooner_is_left_to_end() -> None:
    current = replace(HELD, id="key_current", digest="3" * 64, issued_at=NOW)
    soon = NOW + timedelta(minutes=5)
    plan = planned(current, registered(current), registered(expires_at=soon))
    assert ((), (terms(HELD, soon),)) == (plan.actions, plan.retiring)


def test_without_an_overlap_the_old_key_is_revoked_at_once() -> None:
    policy = replace(POLICY, overlap=timedelta())
    plan = planned(HELD, registered(), policy=policy, request="leaked")
    assert (RevokeKey(HELD.id), ()) == (plan.actions[-1], plan.retiring)


def test_a_key_that_was_put_back_does_not_cut_off_its_younger_sibling() -> None:
    younger = replace(HELD, id="key_younger", digest="3" * 64, issued_at=NOW - HOUR / 2)
    plan = planned(HELD, registered(expires_at=NOW + HOUR / 2), registered(younger))
    expected = terms(HELD, HELD.issued_at + 90 * DAY), terms(younger, NOW + HOUR / 2)
    assert expected == plan.actions


def test_a_key_of_another_name_or_of_people_is_never_touched() -> None:
    others = registered(name="kubernetes:office", id="key_a"), registered(name="till", id="key_b")
    assert ISSUED == planned(Holding.MISSING, *others).actions


def test_an_expired_key_that_rotates_on_demand_only_waits_for_a_person() -> None:
    policy = replace(POLICY, rotates_every=None)
    plan = planned(HELD, registered(), policy=policy, now=HELD.issued_at + 90 * DAY)
    assert (KeyObstacle.EXPIRED, ()) == (plan.obstacle, plan.actions)
    asked = planned(
        HELD, registered(), policy=policy, now=HELD.issued_at + 90 * DAY, request="go on"
    )
    assert (None, NEW) == (asked.obstacle, asked.current)


def test_an_expired_key_that_rotates_by_itself_is_replaced() -> None:
    plan = planned(HELD, registered(), now=HELD.issued_at + 90 * DAY)
    assert (None, NEW) == (plan.obstacle, plan.current)


def test_a_shorter_life_is_written_down_also_where_it_is_over_already() -> None:
    policy = replace(POLICY, rotates_every=None, expires_after=DAY)
    plan = planned(HELD, registered(), policy=policy)
    assert (terms(HELD, HELD.issued_at + DAY),) == plan.actions
    assert KeyObstacle.EXPIRED is plan.obstacle


def test_somebody_elses_secret_is_an_obstacle() -> None:
    plan = planned(Holding.FOREIGN)
    assert (KeyObstacle.NOT_OURS, None) == (plan.obstacle, plan.current)


def test_a_new_key_shows_no_secret_where_it_is_printed() -> None:
    assert "fp_test_new_secret" not in repr(planned(Holding.MISSING))
