"""Quotas: which hold for a route, what the header fields say, and `admit` as a conversation."""

import pytest

from fluxpay.core.effects import CountRequest, CountRequestLocally, Unavailable
from fluxpay.core.limits import (
    DEFAULT_QUOTA,
    Admitted,
    Quota,
    QuotaState,
    Throttled,
    WindowCount,
    admit,
    admits,
    decide,
    limit_field,
    policy_field,
    quotas_for,
    retry_after_s,
)
from fluxpay.core.problems import Code, Refused
from tests.core.conversation import converse
from tests.core.examples import TENANT_ID

EVERYWHERE = Quota("default", requests=100, window_s=60)
PAYMENTS = Quota("payments", requests=10, window_s=1, route="POST /v1/payments")
PATH = Quota("path", requests=20, window_s=1, route="/v1/payments")
FRESH = WindowCount(previous=0, current=0, elapsed_ms=0)
FULL = WindowCount(previous=0, current=10, elapsed_ms=250)


@pytest.mark.parametrize(
    ("method", "route", "names"),
    [
        ("POST", "/v1/payments", ["default", "payments", "path"]),
        ("GET", "/v1/payments", ["default", "path"]),
        ("GET", "/v1/payments/{payment_id}", ["default"]),
    ],
)
def test_a_route_is_held_by_its_own_quotas_and_by_those_for_all(
    method: str, route: str, names: list[str]
) -> None:
    quotas = quotas_for((EVERYWHERE, PAYMENTS, PATH), method=method, route=route)
    assert names == [quota.name for quota in quotas]


@pytest.mark.parametrize("quotas", [(), (PAYMENTS,)])
def test_a_route_without_a_quota_has_the_default_one(quotas: tuple[Quota, ...]) -> None:
    assert (DEFAULT_QUOTA,) == quotas_for(quotas, method="GET", route="/v1/payments")


@pytest.mark.parametrize(
    ("previous", "current", "elapsed_ms", "admitted"),
    [
        pytest.param(0, 0, 0, True, id="nothing counted"),
        pytest.param(0, 9, 0, True, id="the last of the window"),
        pytest.param(0, 10, 999, False, id="one too many"),
        pytest.param(10, 0, 0, False, id="the window before, in full"),
        pytest.param(10, 0, 99, False, id="not quite faded by one"),
        pytest.param(10, 0, 100, True, id="faded by one"),
        pytest.param(10, 4, 500, True, id="half and half"),
        pytest.param(10, 5, 500, False, id="half and half and one"),
        pytest.param(10, 9, 999, False, id="the last of the window, a millisecond early"),
    ],
)
def test_the_window_before_weighs_what_the_sliding_window_covers_of_it(
    previous: int, current: int, elapsed_ms: int, admitted: bool
) -> None:
    assert admitted is admits(PAYMENTS, WindowCount(previous, current, elapsed_ms))


@pytest.mark.parametrize(
    ("burst", "previous", "ceiling"),
    [
        (None, 0, 10),
        (None, 10, 10),
        (10, 0, 10),
        (15, 0, 15),
        (15, 5, 15),
        (15, 7, 13),
        (15, 10, 10),
        (15, 15, 10),
        (20, 0, 20),
        (1000, 0, 20),
    ],
)
def test_a_burst_spends_what_the_window_before_left_unused(
    burst: int | None, previous: int, ceiling: int
) -> None:
    assert ceiling == Quota("q", requests=10, window_s=1, burst=burst).ceiling(previous)


@pytest.mark.parametrize(
    ("quota", "count", "wait_s"),
    [
        pytest.param(Quota("q", 10, 10), WindowCount(10, 0, 0), 1, id="one has faded"),
        pytest.param(Quota("q", 10, 10), WindowCount(10, 0, 999), 1, id="never less than one"),
        pytest.param(Quota("q", 10, 10), WindowCount(10, 4, 1500), 4, id="rounded up"),
        pytest.param(Quota("q", 10, 10), WindowCount(0, 10, 9000), 2, id="full: the next, faded"),
        pytest.param(Quota("q", 1, 10), WindowCount(0, 1, 0), 20, id="one in ten seconds"),
        pytest.param(
            Quota("q", 10, 10, burst=20),
            WindowCount(1, 18, 0),
            15,
            id="a burst weighs on the window after it",
        ),
    ],
)
def test_retry_after_tells_when_there_is_room(
    quota: Quota, count: WindowCount, wait_s: int
) -> None:
    assert not admits(quota, count)
    assert wait_s == retry_after_s(quota, count)


def test_an_admitted_request_is_told_what_is_left() -> None:
    decision = decide((EVERYWHERE, PAYMENTS), (WindowCount(50, 20, 30_000), FRESH))
    assert decision == Admitted(
        (
            QuotaState(EVERYWHERE, remaining=54, reset_s=30),
            QuotaState(PAYMENTS, remaining=9, reset_s=1),
        )
    )


def test_a_throttled_request_counts_nowhere_and_names_the_quota_that_keeps_it_longest() -> None:
    slow = Quota("slow", requests=5, window_s=3600)
    counts = (FRESH, FULL, WindowCount(previous=0, current=5, elapsed_ms=3_599_000))
    assert decide((EVERYWHERE, PAYMENTS, slow), counts) == Throttled(
        (
            QuotaState(EVERYWHERE, remaining=100, reset_s=60),
            QuotaState(PAYMENTS, remaining=0, reset_s=1),
            QuotaState(slow, remaining=0, reset_s=1),
        ),
        quota=slow,
        retry_after_s=721,
    )


def test_the_wait_is_over_only_when_all_quotas_have_room_at_once() -> None:
    # Ten seconds empty the first; by then the second, which has room now, is in the window that
    # follows a burst, and full until more than half of that window has passed.
    slow, bursting = Quota("slow", 1, 5), Quota("bursting", 10, 10, burst=20)
    counts = (WindowCount(0, 1, 0), WindowCount(0, 19, 0))
    assert not admits(slow, counts[0])
    assert admits(bursting, counts[1])
    decision = decide((slow, bursting), counts)
    assert isinstance(decision, Throttled)
    assert (bursting, 16) == (decision.quota, decision.retry_after_s)


def test_a_count_for_each_quota_is_needed_to_decide() -> None:
    with pytest.raises(ValueError, match="zip"):
        decide((EVERYWHERE, PAYMENTS), (FRESH,))


def test_a_throttled_request_is_refused_with_the_time_to_wait() -> None:
    decision = decide((PAYMENTS,), (FULL,))
    assert isinstance(decision, Throttled)
    assert decision.refusal() == Refused(
        Code.RATE_LIMITED,
        "The quota 'payments' allows 10 requests in 1 s.",
        retry_after_s=1,
    )


def test_the_fields_read_as_the_draft_says() -> None:
    states = (QuotaState(EVERYWHERE, 50, 30), QuotaState(PAYMENTS, 0, 1))
    assert '"default";q=100;w=60, "payments";q=10;w=1' == policy_field(states)
    assert '"default";r=50;t=30, "payments";r=0;t=1' == limit_field(states)


# ---- admit ---------------------------------------------------------------------------------------

ASK = CountRequest(TENANT_ID, (PAYMENTS,))
ASK_HERE = CountRequestLocally(TENANT_ID, (PAYMENTS,))


@pytest.mark.parametrize(("count", "kind"), [(FRESH, Admitted), (FULL, Throttled)])
def test_one_count_decides(count: WindowCount, kind: type) -> None:
    decision = converse(admit(TENANT_ID, (PAYMENTS,)), (ASK, (count,)))
    assert kind is type(decision)


@pytest.mark.parametrize(("count", "kind"), [(FRESH, Admitted), (FULL, Throttled)])
def test_without_redis_this_process_counts_alone(count: WindowCount, kind: type) -> None:
    step = admit(TENANT_ID, (PAYMENTS,))
    decision = converse(step, (ASK, Unavailable("redis")), (ASK_HERE, (count,)))
    assert kind is type(decision)
