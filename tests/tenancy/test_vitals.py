"""The operator is alive while its watches, its Lease and its loop are; ready once it has begun."""

from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from fluxpay.observability import probes
from fluxpay_operator.metrics import Metrics
from fluxpay_operator.vitals import LEASE_SILENCE_S_MAX, WATCH_SILENCE_S_MAX, Vitals
from fluxpay_operator.watching import Hearing


class Clock:
    """A clock that goes when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Lease:
    """When the Lease was last tried for."""

    tried_s: float
    is_leader: bool = False


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def vitals(clock: Clock) -> Vitals:
    lease: Any = Lease(clock.now_s)
    return Vitals(Hearing(clock), lease, clock, has_started=True)


async def ask(vitals: Vitals, path: str) -> tuple[int, str]:
    async with (
        probes.answering(vitals, Metrics().exposition, host="127.0.0.1", port=0) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as answer,
    ):
        return answer.status, await answer.text()


async def test_a_fresh_one_is_alive_and_ready(vitals: Vitals) -> None:
    expected = '{"status": "ok", "checks": {"watch": "ok", "lease": "ok"}}'
    assert (200, expected) == await ask(vitals, "/health/live")
    status, text = await ask(vitals, "/health/ready")
    assert (200, True) == (status, '"role": "standby"' in text)


async def test_one_that_has_not_begun_is_alive_and_not_ready(vitals: Vitals) -> None:
    vitals.has_started = False
    assert [200, 503] == [(await ask(vitals, f"/health/{one}"))[0] for one in ("live", "ready")]


async def test_one_whose_watches_are_silent_for_too_long_is_dead(
    vitals: Vitals, clock: Clock
) -> None:
    clock.now_s += WATCH_SILENCE_S_MAX
    vitals.leadership.tried_s = clock.now_s
    assert 200 == (await ask(vitals, "/health/live"))[0]
    clock.now_s += 1
    assert 503 == (await ask(vitals, "/health/live"))[0]
    # One of two is not enough.
    vitals.hearing.heard("tenants")
    status, text = await ask(vitals, "/health/live")
    assert (503, True) == (status, '"watch": "down"' in text)
    vitals.hearing.heard("secrets")
    assert 200 == (await ask(vitals, "/health/live"))[0]


async def test_one_that_tries_for_its_lease_no_more_is_dead(vitals: Vitals, clock: Clock) -> None:
    clock.now_s += LEASE_SILENCE_S_MAX + 1
    status, text = await ask(vitals, "/health/live")
    assert (503, True) == (status, '"lease": "down"' in text)


async def test_its_metrics_are_there(vitals: Vitals) -> None:
    status, text = await ask(vitals, "/metrics")
    assert 200 == status
    assert 'fluxpay_operator_reconcile_total{result="changed"} 0.0' in text
