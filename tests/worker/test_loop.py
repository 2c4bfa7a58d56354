"""The loop round a job: at once again, later, or after a fault; and the end of it."""

import asyncio

import psycopg2
import pytest

from fluxpay.stores.problems import StatementTimedOut, StoreUnavailable
from fluxpay.worker.jobs import Job, Round
from fluxpay.worker.loop import BACKOFF_S_MAX, BACKOFF_S_MIN, back_off_s, keep_doing
from tests.conftest import Lines

IDLE = Round(0, has_more=False)
FAULTS = [StoreUnavailable("gone"), StatementTimedOut("slow"), psycopg2.Error("odd")]
# Long enough that a test which has to wait for it once does not end in time.
NEVER_S = 3600.0


class Script:
    """A job that plays one outcome a round, and stops the loop after the last one."""

    def __init__(self, *outcomes: Round | Exception, interval_s: float = NEVER_S) -> None:
        self.stop = asyncio.Event()
        self.job = Job("playing", "played", interval_s, self._run)
        self.left = list(outcomes)

    async def _run(self) -> Round:
        outcome = self.left.pop(0)
        if not self.left:
            self.stop.set()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def play(self) -> None:
        async with asyncio.timeout(30):
            await keep_doing(self.job, stop=self.stop)


async def test_while_more_is_waiting_the_next_round_comes_at_once() -> None:
    script = Script(*[Round(1, has_more=True)] * 5, IDLE)
    await script.play()
    assert [] == script.left


async def test_when_nothing_more_is_waiting_the_next_round_comes_after_the_interval() -> None:
    script = Script(Round(1, has_more=False), IDLE)
    playing = asyncio.create_task(script.play())
    await asyncio.sleep(0.1)
    assert [IDLE] == script.left
    script.stop.set()
    await playing
    assert [IDLE] == script.left

    script = Script(Round(1, has_more=False), IDLE, interval_s=0.01)
    await script.play()
    assert [] == script.left


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
async def test_a_fault_of_the_store_is_told_and_tried_again(fault: Exception, lines: Lines) -> None:
    script = Script(fault, fault, IDLE)
    await script.play()
    assert [] == script.left
    kind = type(fault).__name__
    error = kind if isinstance(fault, psycopg2.Error) else f"{kind}: {fault}"
    failed, again, recovered = lines()
    for one in (failed, again):
        assert ("job_failed", "playing", error) == (one["event"], one["job"], one["error"])
        assert 0 < one["next_try_s"] <= BACKOFF_S_MAX
    assert ("job_recovered", "playing") == (recovered["event"], recovered["job"])


def test_pauses_after_faults_double_up_to_a_bound_and_differ() -> None:
    for faults in (1, 2, 3, 6, 1_000_000):
        whole_s = min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2 ** min(faults, 20))
        pauses = [back_off_s(faults) for _ in range(100)]
        assert whole_s / 2 <= min(pauses) < max(pauses) <= whole_s
        assert len(set(pauses)) > 50


async def test_a_bug_ends_the_loop() -> None:
    script = Script(KeyError("bug"), IDLE)
    with pytest.raises(KeyError):
        await script.play()
    assert [IDLE] == script.left


async def test_what_was_done_is_told_as_a_sum_and_not_line_by_line(
    lines: Lines,
) -> None:
    await Script(*[Round(3, has_more=True)] * 5, IDLE).play()
    # The first line at once, the rest when the time has come: here, at the end.
    assert [("job_done", "played", 3), ("job_done", "played", 12)] == [
        (one["event"], one["did"], one["count"]) for one in lines()
    ]


async def test_an_idle_job_says_nothing(lines: Lines) -> None:
    await Script(*[IDLE] * 3, interval_s=0.001).play()
    assert [] == lines()
