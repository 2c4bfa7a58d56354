"""Seven days are seven days, wherever the worker lives and whatever its clocks do meanwhile."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fluxpay.core.payments import CaptureMode
from fluxpay.stores.pool import Pool
from tests.conftest import Database
from tests.worker.books import pay, statuses

ROOT = Path(__file__).parents[2]
MOMENT = timedelta(milliseconds=1)
# Each authorization spans a change of the clocks; its last moment, as UTC and as it is shown there.
DUE = [
    # The hour that comes twice: 02:30 for the first time, and for the second time.
    ("Europe/Berlin", datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "02:30"),
    ("Europe/Berlin", datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "02:30"),
    # Right after the hour that never was.
    ("Europe/Berlin", datetime(2026, 3, 29, 1, 0, tzinfo=UTC), "03:00"),
    ("Pacific/Auckland", datetime(2026, 4, 4, 13, 30, tzinfo=UTC), "02:30"),
    ("Pacific/Auckland", datetime(2026, 4, 4, 14, 30, tzinfo=UTC), "02:30"),
    ("Pacific/Auckland", datetime(2026, 9, 26, 14, 0, tzinfo=UTC), "03:00"),
    ("UTC", datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "00:30"),
]


def round_at(database: Database, moment: datetime, zone: str) -> tuple[int, str]:
    """Let a process in that zone do one round; gives what expired, and its time of day."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.worker.expire_at",
            database.app_url,
            # As the process would read its own clock: in UTC.
            moment.isoformat(),
        ],
        # PGTZ is the session's zone: the server then shows every instant in local time.
        env={**os.environ, "TZ": zone, "PGTZ": zone},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    expired, _, clock = done.stdout.strip().partition(" ")
    return int(expired), clock


@pytest.mark.parametrize(("zone", "due_at", "clock"), DUE)
async def test_an_authorization_over_a_change_of_clocks_expires_after_seven_times_24_hours(
    pool: Pool, database: Database, zone: str, due_at: datetime, clock: str
) -> None:
    made_at = due_at - timedelta(days=7)
    await pay(pool, capture=CaptureMode.MANUAL, now=made_at)
    assert 0 == round_at(database, due_at - MOMENT, zone)[0]
    assert {"authorized": 1} == statuses(database)
    assert (1, clock) == round_at(database, due_at, zone)
    assert {"expired": 1} == statuses(database)
