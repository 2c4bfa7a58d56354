"""What the bench makes of its numbers: percentiles, medians, bars, tables and the picture."""

import math
import random
import re
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.bench import drawing, measures, table
from tests.bench.load import Job, length_of, percentile, requests_of
from tests.bench.measures import BARS, Seen, Soak
from tests.bench.run import plan_of
from tests.bench.variants import VARIANTS

CPU = {"server": 100.0, "postgres": 60.0, "redis": 20.0, "load": 15.0}
SLOW = {"server": 400.0, "postgres": 200.0, "redis": 40.0, "load": 15.0}
TITLES = {one.name: one.title for one in VARIANTS}


def seen(**rates: float) -> dict[str, Seen]:
    """Every variant at 1,000 a second, but for those named."""
    found = {
        name: Seen(rates.get(name, 1000.0), p50_ms=2.0, p99_ms=6.0, cpu_us=CPU) for name in TITLES
    }
    return found | {"unbatched": Seen(rates.get("unbatched", 1000.0), cpu_us=SLOW)}


def reached(title: str, found: dict[str, Seen]) -> tuple[float | None, bool | None]:
    """The value of the one bar with this title, and whether it is met."""
    (one,) = [one for one in measures.verdicts(found, None) if one.title == title]
    return one.value, one.is_met


def parsed(picture: str) -> ET.Element:
    return ET.fromstring(picture)  # noqa: S314 - it is our own


@pytest.mark.parametrize(("part", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1)])
def test_a_percentile_is_a_value_that_was_seen(part: float, expected: float) -> None:
    assert expected == percentile([float(n) for n in range(1, 101)], part)


def test_the_median_of_rounds_is_taken_number_by_number() -> None:
    rounds = [
        Seen(rate, p50_ms=rate / 10, cpu_us={"server": 1000 / rate}) for rate in (30.0, 10.0, 20.0)
    ]
    assert Seen(20.0, p50_ms=2.0, cpu_us={"server": 50.0}) == measures.median(rounds)


def test_cpu_per_payment_leaves_the_load_generator_out() -> None:
    assert (180.0, True) == reached("CPU per payment, load aside", seen())


@pytest.mark.parametrize(
    ("title", "rates", "expected"),
    [
        ("one process ÷ bare SQL", {"create": 1000, "bare": 1000}, (1.0, True)),
        ("one process ÷ bare SQL", {"create": 999, "bare": 1000}, (0.999, False)),
        ("two processes ÷ bare SQL", {"two": 1300, "bare": 1000}, (1.3, True)),
        ("÷ batching and coalescing off", {"create": 4000, "unbatched": 1000}, (4.0, True)),
        ("1 % of traces ÷ none", {"create": 890, "untraced": 1000}, (0.89, False)),
        ("all traces ÷ none", {"traced": 700, "untraced": 1000}, (0.7, True)),
        ("collector gone ÷ create", {"deaf": 950, "create": 1000}, (0.95, True)),
        ("one hot tenant ÷ 100 tenants", {"hot": 800, "create": 1000}, (0.8, False)),
        ("preloaded ÷ empty", {"preloaded": 950, "create": 1000}, (0.95, True)),
        ("replay ÷ create", {"replay": 1900, "create": 1000}, (1.9, False)),
        ("GET one payment ÷ create", {"read": 1500, "create": 1000}, (1.5, True)),
        ("p99 ÷ p50 at 50 % of capacity", {}, (3.0, True)),
    ],
)
def test_a_ratio_is_met_at_its_bar_and_not_below(
    title: str, rates: dict[str, float], expected: tuple[float, bool]
) -> None:
    assert expected == reached(title, seen(**rates))


def test_an_idle_request_is_compared_with_the_sum_of_what_it_cannot_do_without() -> None:
    found = seen(idle=500) | {
        "bare, 1 client": Seen(1000.0),
        "empty handler": Seen(4000.0),
    }
    value, is_met = reached("one request, idle ÷ (pgbench + aiohttp)", found)
    assert pytest.approx(1.6) == value
    assert is_met is True


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    told = measures.verdicts({"create": Seen(1000.0, cpu_us=CPU)}, None)
    assert ["CPU per payment, load aside"] == [one.title for one in told if one.is_met is not None]


@pytest.mark.parametrize(
    ("soak", "expected"),
    [
        (Soak(10, 100.0, 104.9), [True, True]),
        (Soak(10, 140.0, 151.0), [False, False]),
        (Soak(9.9, 100.0, 101.0), [None, None]),
    ],
)
def test_memory_has_two_bars_and_less_than_ten_minutes_prove_neither(
    soak: Soak, expected: list[bool | None]
) -> None:
    assert expected == [one.is_met for one in measures.verdicts({}, soak)[-2:]]


def test_the_table_tells_each_bar_with_its_value() -> None:
    told = table.judged(measures.verdicts(seen(bare=2000), Soak(10, 100.0, 102.0)))
    lines = [re.split("  +", line) for line in told.splitlines()]
    assert ["one process ÷ bare SQL", "0.50", "≥ 1", "NOT MET"] in lines
    assert ["CPU per payment, load aside", "180 µs", "≤ 300 µs", "met"] in lines
    assert ["its growth after the first minute", "2 %", "≤ 5 %", "met"] in lines


def test_the_table_has_a_row_for_each_variant_and_a_dash_for_what_it_lacks() -> None:
    told = table.measured(TITLES, {"bare": Seen(5000.0, cpu_us={"postgres": 240.0, "load": 46.0})})
    row = re.split("  +", told.splitlines()[1])
    assert [TITLES["bare"], "5,000", "-", "-", "-", "240", "-", "46", "-", "-"] == row


def test_the_picture_is_well_formed_and_shows_every_bar() -> None:
    verdicts = measures.verdicts(seen(), Soak(10, 100.0, 102.0))
    root = parsed(drawing.draw(TITLES, seen(), verdicts, note="a < b & c"))
    texts = {"".join(one.itertext()) for one in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"a < b & c", *(one.title for one in verdicts)} <= texts


@pytest.mark.parametrize("found", [{}, seen(create=1e9, bare=1e-9), seen(create=1e-9)])
def test_nothing_is_drawn_outside_of_the_picture(found: dict[str, Seen]) -> None:
    root = parsed(drawing.draw(TITLES, found, measures.verdicts(found, None), note=""))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for mark in root.iter():
        across = float(mark.get("x", mark.get("cx", 0))) + float(mark.get("width", 0))
        assert math.isfinite(across)
        assert mark is root or across <= width
        assert float(mark.get("y", mark.get("cy", 0))) <= height


def test_every_bar_needs_variants_that_exist() -> None:
    assert set() == {name for bar in BARS for name in bar.needs} - TITLES.keys()


def test_no_two_payments_of_any_two_runs_share_a_key() -> None:
    jobs = [Job(("127.0.0.1", 1), keys=["a", "b"], prefix=prefix) for prefix in ("r-1", "r-2")]
    requests = [one for job in jobs for one in islice(requests_of(job), 1000)]
    keys = [one.partition(b"Idempotency-Key: ")[2].partition(b"\r\n")[0] for one in requests]
    assert 2000 == len(set(keys))


def test_tenants_take_turns() -> None:
    job = Job(("127.0.0.1", 1), keys=["a", "b", "c"], prefix="x")
    asked = [one.partition(b"Bearer ")[2][:1] for one in islice(requests_of(job), 6)]
    assert [b"a", b"b", b"c", b"a", b"b", b"c"] == asked


def test_a_body_is_as_long_as_its_head_says() -> None:
    length = random.randrange(1000)
    head = f"HTTP/1.1 201 Created\r\nContent-Length: {length}\r\nServer: x".encode()
    assert length == length_of(head + b"\r\n\r\n", len(head))
    assert 0 == length_of(b"HTTP/1.1 204 No Content\r\n\r\n", 23)


def test_choosing_a_variant_chooses_what_it_stands_on() -> None:
    plan = plan_of(["--only", "paced; bare"])
    assert ["bare", "create", "paced"] == [one.name for one in plan.chosen]


def test_without_a_preload_and_without_another_checkout_neither_is_measured() -> None:
    names = {one.name for one in plan_of(["--preload", "0"]).chosen}
    assert set(TITLES) - {"preloaded", "rival"} == names
    assert "rival" in {one.name for one in plan_of(["--against", str(Path.cwd())]).chosen}
