"""The tests of the core stand on `converse`, so it is tested too: it notices every difference."""

import pytest

from fluxpay.core.effects import FindTenant, ListApiKeys, Step
from tests.core.conversation import Exchange, converse


def two_questions() -> Step[object]:
    tenant = yield from FindTenant("ten_1")
    keys = yield from ListApiKeys("ten_2")
    return tenant, keys


FIRST: Exchange = (FindTenant("ten_1"), None)
SECOND: Exchange = (ListApiKeys("ten_2"), ())


def test_a_conversation_ends_in_the_decision_of_the_step() -> None:
    assert converse(two_questions(), FIRST, SECOND) == (None, ())


@pytest.mark.parametrize(
    "exchanges",
    [
        pytest.param((), id="the step asks and nothing was expected"),
        pytest.param((FIRST,), id="the step asks once more"),
        pytest.param((SECOND, FIRST), id="the step asks in another order"),
        pytest.param((FIRST, (ListApiKeys("ten_1"), ())), id="the step asks something else"),
        pytest.param((FIRST, SECOND, SECOND), id="the step asks once less"),
    ],
)
def test_a_conversation_that_goes_differently_fails(exchanges: tuple[Exchange, ...]) -> None:
    with pytest.raises(AssertionError):
        converse(two_questions(), *exchanges)


def test_an_answer_that_is_an_exception_is_thrown_into_the_step() -> None:
    with pytest.raises(ConnectionError):
        converse(two_questions(), FIRST, (ListApiKeys("ten_2"), ConnectionError()))
