"""The instruments of one thread count what they are told, and show it as the formats want it."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from fluxpay.observability.bounded_counts import OTHER, BoundedCounts
from fluxpay.observability.exposition import exposition
from fluxpay.observability.instruments import Counts, Distribution, Readings
from tests.observability.exposed import OPENMETRICS, Page, read

TRACE = "0af7651916cd43dd8448eb211c80319c"
OTHER_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def shown(registry: CollectorRegistry) -> Page:
    text, _ = exposition(registry, OPENMETRICS)
    return read(text.decode(), is_openmetrics=True)


def exemplars(registry: CollectorRegistry, name: str) -> dict[str, tuple[str, float]]:
    """The trace and the value of each bucket that has an exemplar."""
    return {
        sample.labels["le"]: (sample.exemplar.labels["trace_id"], sample.exemplar.value)
        for sample in shown(registry).families[name].samples
        if sample.exemplar is not None
    }


def test_a_counter_is_0_before_anything_was_counted_where_its_labels_are_known(
    registry: CollectorRegistry,
) -> None:
    counts = Counts(registry, "one", "Ones.", ["kind"], known=[("a",), ("b",)])
    Counts(registry, "bare", "Without labels.")
    counts.expect("c")
    counts.count("a")
    counts.add(("b",), 5)
    counts.expect("b")
    page = shown(registry)
    assert [1, 5, 0] == [page.value("one_total", kind=kind) for kind in ("a", "b", "c")]
    assert 0 == page.value("bare_total")


def test_a_histogram_counts_what_lies_on_a_bound_below_it(registry: CollectorRegistry) -> None:
    one = Distribution(registry, "one_seconds", "One.", bounds=(0.1, 0.3))
    for observed in (0.05, 0.3, 0.31):
        one.observe((), observed)
    page = shown(registry)
    buckets = [page.value("one_seconds_bucket", le=bound) for bound in ("0.1", "0.3", "+Inf")]
    assert [1, 2, 3] == buckets
    assert 0.66 == pytest.approx(page.value("one_seconds_sum"))


def test_the_last_exemplar_of_each_bucket_leads_to_its_trace(registry: CollectorRegistry) -> None:
    one = Distribution(registry, "one_seconds", "One.", bounds=(0.1, 0.3))
    one.observe((), 0.05)
    assert {} == exemplars(registry, "one_seconds")
    one.observe((), 0.2, OTHER_TRACE)
    one.observe((), 0.25, TRACE)
    one.observe((), 9.0, OTHER_TRACE)
    one.observe((), 0.21)
    expected = {"0.3": (TRACE, 0.25), "+Inf": (OTHER_TRACE, 9.0)}
    assert expected == exemplars(registry, "one_seconds")


def test_the_plain_format_shows_no_exemplar(registry: CollectorRegistry) -> None:
    Distribution(registry, "one_seconds", "One.", bounds=(0.1,)).observe((), 0.05, TRACE)
    text, kind = exposition(registry, "text/plain")
    assert kind.startswith("text/plain")
    assert TRACE not in text.decode()
    read(text.decode(), is_openmetrics=False)


def test_what_somebody_keeps_anyway_is_read_when_it_is_shown(registry: CollectorRegistry) -> None:
    queue: list[int] = []
    Readings(registry, "depth", "How deep.", read=lambda: {(): len(queue)})
    Readings(
        registry, "seen", "So far.", ["by"], read=lambda: {("me",): len(queue)}, is_counter=True
    )
    queue.append(1)
    page = shown(registry)
    assert [1, 1] == [page.value("depth"), page.value("seen_total", by="me")]


class Clock:
    """A clock that goes when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def bounded(registry: CollectorRegistry, clock: Clock, *, owners_max: int = 3) -> BoundedCounts:
    return BoundedCounts(
        registry,
        "asked",
        "By owner.",
        labels=("owner", "result"),
        results=("ok", "failed"),
        owners_max=owners_max,
        silence_s_max=60,
        monotonic_s=clock,
    )


def owners(registry: CollectorRegistry) -> dict[str, float]:
    """How many each owner has, all results together."""
    found: dict[str, float] = {}
    for sample in shown(registry).families["asked"].samples:
        owner = sample.labels["owner"]
        found[owner] = found.get(owner, 0) + sample.value
    return found


def test_whoever_comes_when_all_places_are_taken_is_counted_with_the_others(
    registry: CollectorRegistry,
) -> None:
    counts = bounded(registry, Clock())
    assert {OTHER: 0} == owners(registry)
    for owner in ("a", "b", "c", "d", "e", "a"):
        counts.count(owner, "ok")
    counts.count("a", "failed")
    assert {"a": 3, "b": 1, "c": 1, OTHER: 2} == owners(registry)
    assert 1 == shown(registry).value("asked_total", owner="a", result="failed")


def test_an_owner_that_was_silent_for_long_gives_its_place_up(registry: CollectorRegistry) -> None:
    clock = Clock()
    counts = bounded(registry, clock)
    for owner in ("a", "b", "c"):
        counts.count(owner, "ok")
    clock.now_s += 59
    counts.count("a", "ok")
    counts.count("d", "ok")
    assert {"a": 2, "b": 1, "c": 1, OTHER: 1} == owners(registry)
    clock.now_s += 2
    counts.count("d", "ok")
    assert {"a": 2, "d": 1, OTHER: 1} == owners(registry)
    clock.now_s += 61
    # Nobody comes, and yet nobody is shown for ever.
    assert {OTHER: 1} == owners(registry)


def test_ten_thousand_owners_make_no_more_series_than_there_are_places(
    registry: CollectorRegistry,
) -> None:
    clock = Clock()
    counts = bounded(registry, clock, owners_max=200)
    for number in range(10_000):
        clock.now_s += 0.001
        counts.count(f"owner-{number}", "ok")
    assert 201 == len(owners(registry))
    assert (200 + 1) * 2 == len(shown(registry).families["asked"].samples)
    assert 10_000 == sum(owners(registry).values())
