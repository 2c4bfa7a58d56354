"""Numbers in pictures read as people write them, and axes have round steps around all values."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.observability.figures import ticks, written

WRITTEN = [
    (0.0, "s", "0 ms"),
    (0.0087, "s", "8.7 ms"),
    (0.9999, "s", "1 s"),
    (299, "s", "4.98 min"),
    (172_800, "s", "2 d"),
    (0.9991, "percentunit", "99.9 %"),
    (-62.5, "percentunit", "-6,250 %"),
    (12.34, "reqps", "12.3 req/s"),
    (104_857_600, "bytes", "100 MiB"),
    (14.4, "x", "14.4 x"),
    (10_000, "short", "10 k"),
    (3, "short", "3"),
    (0.0001, "ops", "0 ops/s"),
]
POSITIVE = st.floats(min_value=1e-6, max_value=1e12)


@pytest.mark.parametrize(("value", "unit", "expected"), WRITTEN)
def test_a_value_is_written_with_three_digits_and_its_unit(
    value: float, unit: str, expected: str
) -> None:
    assert expected == written(value, unit)


@given(most=POSITIVE, unit=st.sampled_from(["s", "bytes", "short"]))
def test_an_axis_holds_all_values_in_a_few_even_steps(most: float, unit: str) -> None:
    scale = ticks(0.0, most, unit=unit)
    steps = {round((after - before) / most, 6) for before, after in pairwise(scale)}
    assert 0.0 == scale[0]
    assert scale[-1] >= most * 0.999999
    assert 1 == len(steps)
    assert 2 <= len(scale) <= 5


def test_an_axis_may_begin_below_zero() -> None:
    assert [-10, -5, 0] == ticks(-8, 0, unit="short")
