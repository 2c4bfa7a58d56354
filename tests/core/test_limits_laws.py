"""Laws of the sliding window, over any sequence of requests in simulated time.

The bound that holds, for a quota of R requests in W milliseconds: any stretch of L <= W
milliseconds admits at most R * (1 + L / W). It is what a bucket of R tokens gives that fills at R
a window, so a moment around a boundary admits R and not 2 R. With a burst B (R <= B <= 2 R) it is
the greater of B + (2 R - B) * L / W and R + B * L / W: a stretch touches two windows at most; of
the first, which holds p <= B, it takes p or fewer, and when the second has run for e <= L it holds
at most ceiling(p) - p * (W - e) / W.
"""

from bisect import bisect_left
from itertools import accumulate, pairwise

from hypothesis import assume, given
from hypothesis import strategies as st

from fluxpay.core.limits import (
    Admitted,
    Quota,
    Throttled,
    WindowCount,
    admits,
    aged,
    decide,
    retry_after_s,
)


@st.composite
def quotas(draw: st.DrawFn, *, bursts: bool = True) -> Quota:
    requests = draw(st.integers(min_value=1, max_value=12))
    burst = draw(st.none() | st.integers(requests, 2 * requests + 3)) if bursts else None
    window_s = draw(st.sampled_from([1, 2, 3, 10, 60]))
    return Quota("q", requests=requests, window_s=window_s, burst=burst)


@st.composite
def counts(draw: st.DrawFn, quota: Quota) -> WindowCount:
    """Any count that asking this quota again and again can lead to."""
    burst = min(quota.burst or quota.requests, 2 * quota.requests)
    previous = draw(st.integers(0, burst))
    current = draw(st.integers(0, quota.ceiling(previous)))
    return WindowCount(previous, current, draw(st.integers(0, quota.window_ms - 1)))


@st.composite
def counted_quotas(draw: st.DrawFn) -> tuple[Quota, WindowCount]:
    quota = draw(quotas())
    return quota, draw(counts(quota))


def admitted_at(quota: Quota, asked_ms: list[int]) -> list[int]:
    """When requests at these times are admitted, counted the way every counter does."""
    admitted: list[int] = []
    for now_ms in asked_ms:
        window, elapsed_ms = divmod(now_ms, quota.window_ms)
        indices = [time_ms // quota.window_ms for time_ms in admitted]
        count = WindowCount(indices.count(window - 1), indices.count(window), elapsed_ms)
        if admits(quota, count):
            admitted.append(now_ms)
    return admitted


# Many requests in one instant, some a little apart, now and then a long rest.
gaps_ms = st.lists(
    st.just(0) | st.integers(0, 40) | st.integers(0, 1500) | st.integers(0, 12_000), max_size=80
)


@given(quota=quotas(), start_ms=st.integers(0, 60_000), gaps=gaps_ms)
def test_no_stretch_of_time_admits_more_than_the_bound(
    quota: Quota, start_ms: int, gaps: list[int]
) -> None:
    admitted = admitted_at(quota, [start_ms + passed for passed in accumulate(gaps, initial=0)])
    requests, window_ms = quota.requests, quota.window_ms
    burst = min(quota.burst or requests, 2 * requests)
    for first, begin_ms in enumerate(admitted):
        for last in range(first, len(admitted)):
            length_ms = admitted[last] - begin_ms
            if length_ms > window_ms:
                break
            bound = max(
                burst * window_ms + (2 * requests - burst) * length_ms,
                requests * window_ms + burst * length_ms,
            )
            assert (last - first + 1) * window_ms <= bound


@given(quota=quotas(bursts=False), early_ms=st.integers(1, 100), late_ms=st.integers(0, 100))
def test_without_a_burst_a_boundary_gives_nothing_away(
    quota: Quota, early_ms: int, late_ms: int
) -> None:
    boundary_ms = 10 * quota.window_ms
    many = 3 * quota.requests
    asked_ms = [boundary_ms - early_ms] * many + [boundary_ms + late_ms] * many
    admitted = admitted_at(quota, asked_ms)
    # What the rate itself has given back since the boundary, and nothing more.
    given_back = quota.requests * late_ms // quota.window_ms
    assert quota.requests + given_back == len(admitted)


@given(quota=quotas(), start_ms=st.integers(0, 60_000), gaps=gaps_ms)
def test_no_window_holds_more_than_its_ceiling(
    quota: Quota, start_ms: int, gaps: list[int]
) -> None:
    admitted = admitted_at(quota, [start_ms + passed for passed in accumulate(gaps, initial=0)])
    indices = [time_ms // quota.window_ms for time_ms in admitted]
    for index in set(indices):
        assert indices.count(index) <= quota.ceiling(indices.count(index - 1))


@given(quota=quotas(), early_ms=st.integers(0, 999))
def test_who_asks_evenly_for_one_less_than_the_quota_is_never_throttled(
    quota: Quota, early_ms: int
) -> None:
    # One less, since the window before is weighed as a whole: at a boundary it still weighs all.
    assume(quota.requests > 1)
    step_ms = -(-quota.window_ms // (quota.requests - 1))
    asked_ms = [early_ms + turn * step_ms for turn in range(5 * quota.requests)]
    assert asked_ms == admitted_at(quota, asked_ms)


@given(counted_quotas())
def test_who_is_throttled_is_admitted_after_the_wait_and_not_a_second_before(
    counted: tuple[Quota, WindowCount],
) -> None:
    quota, count = counted
    assume(not admits(quota, count))
    wait_s = retry_after_s(quota, count)
    assert wait_s >= 1
    assert admits(quota, aged(quota, count, wait_s))
    assert not admits(quota, aged(quota, count, wait_s - 1))


@given(st.lists(counted_quotas(), min_size=1, max_size=4))
def test_who_is_throttled_by_several_quotas_is_admitted_by_all_after_the_wait(
    counted: list[tuple[Quota, WindowCount]],
) -> None:
    held, before = (tuple(column) for column in zip(*counted, strict=True))
    decision = decide(held, before)
    assume(isinstance(decision, Throttled))
    assert isinstance(decision, Throttled)
    after = tuple(aged(*pair, decision.retry_after_s) for pair in counted)
    assert isinstance(decide(held, after), Admitted)
    assert decision.quota in held


@given(counted_quotas())
def test_remaining_is_how_many_more_are_admitted_in_the_same_instant(
    counted: tuple[Quota, WindowCount],
) -> None:
    quota, count = counted
    (state,) = decide((quota,), (count,)).states
    current = count.current + admits(quota, count)
    more = 0
    while admits(quota, WindowCount(count.previous, current + more, count.elapsed_ms)):
        more += 1
    assert more == state.remaining


@given(counted=counted_quotas(), wait_s=st.integers(0, 200))
def test_a_count_ages_as_the_windows_turn(counted: tuple[Quota, WindowCount], wait_s: int) -> None:
    quota, count = counted
    begin_ms = 7 * quota.window_ms
    times_ms = sorted([begin_ms - quota.window_ms] * count.previous + [begin_ms] * count.current)
    now_ms = begin_ms + count.elapsed_ms + wait_s * 1000
    window_ms = now_ms - now_ms % quota.window_ms
    edges = [bisect_left(times_ms, window_ms + turn * quota.window_ms) for turn in (-1, 0, 1)]
    previous, current = (right - left for left, right in pairwise(edges))
    assert aged(quota, count, wait_s) == WindowCount(previous, current, now_ms - window_ms)
