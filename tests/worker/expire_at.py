"""One round of expiry at an instant that is given: run as a process, under a time zone of its own.

    python -m tests.worker.expire_at DATABASE_URL 2026-10-25T00:30:00+00:00

Prints how many authorizations expired, and the local time that the process takes it to be.
"""

import asyncio
import sys
from datetime import datetime

from fluxpay.stores.connection import SessionLimits
from fluxpay.stores.database import Database
from fluxpay.stores.payment_changes import PaymentChanges
from fluxpay.worker.jobs import Expiry


async def expire_at(url: str, now: datetime) -> int:
    """Do the round."""
    pool = Database(url, limits=SessionLimits()).pool(max_size=1)
    done = await Expiry(PaymentChanges(pool), now=lambda: now).run()
    await pool.close()
    return done.done


if __name__ == "__main__":
    moment = datetime.fromisoformat(sys.argv[2])
    expired = asyncio.run(expire_at(sys.argv[1], moment))
    sys.stdout.write(f"{expired} {moment.astimezone():%H:%M}\n")
