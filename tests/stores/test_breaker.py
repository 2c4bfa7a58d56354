"""When a server that does not answer is asked again."""

import pytest

from fluxpay.stores.breaker import Breaker


class Watched:
    """A breaker with a pause of one second, and what it told."""

    def __init__(self) -> None:
        self.told: list[bool] = []
        self.breaker = Breaker(pause_s=1.0, on_change=self.told.append)


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def opened(watched: Watched) -> Watched:
    """It failed at the instant 10."""
    watched.breaker.failed(10.0, probe=False)
    return watched


def test_everything_passes_while_nothing_fails(watched: Watched) -> None:
    assert [True, True] == [watched.breaker.admits(0.0), watched.breaker.admits(0.0)]
    watched.breaker.answered(probe=False)
    assert [] == watched.told


def test_a_failure_stops_everything_for_the_pause(opened: Watched) -> None:
    assert opened.breaker.is_open
    assert [False, False] == [opened.breaker.admits(10.0), opened.breaker.admits(10.999)]


def test_after_the_pause_one_probe_passes_and_nobody_else(opened: Watched) -> None:
    assert [True, False, False] == [opened.breaker.admits(at_s) for at_s in (11.0, 11.0, 99.0)]


def test_a_probe_that_fails_starts_the_next_pause(opened: Watched) -> None:
    assert opened.breaker.admits(11.0)
    assert opened.breaker.failed(11.5, probe=True)
    assert [False, True] == [opened.breaker.admits(12.499), opened.breaker.admits(12.5)]


def test_a_probe_that_is_answered_lets_everything_pass_again(opened: Watched) -> None:
    assert opened.breaker.admits(11.0)
    opened.breaker.answered(probe=True)
    assert [True, True] == [opened.breaker.admits(11.0), opened.breaker.admits(11.0)]


def test_a_late_success_from_before_the_failure_does_not_close_it(opened: Watched) -> None:
    opened.breaker.answered(probe=False)
    assert opened.breaker.is_open


def test_a_late_failure_from_before_is_no_news_and_prolongs_no_pause(opened: Watched) -> None:
    assert not opened.breaker.failed(10.9, probe=False)
    assert opened.breaker.admits(11.0)


def test_a_late_failure_from_before_lets_no_second_probe_pass(opened: Watched) -> None:
    assert opened.breaker.admits(11.0)
    opened.breaker.failed(11.1, probe=False)
    assert not opened.breaker.admits(99.0)


def test_only_a_flip_is_told(opened: Watched) -> None:
    for at_s in (11.0, 12.0):
        opened.breaker.admits(at_s)
        opened.breaker.failed(at_s, probe=True)
    opened.breaker.admits(13.0)
    opened.breaker.answered(probe=True)
    opened.breaker.answered(probe=False)
    assert [True, False] == opened.told
