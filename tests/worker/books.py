"""What the worker works on, read by the owner: payments to be made, books to be compared."""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import datetime
from typing import Any

import psycopg2

from fluxpay.core.payments import CaptureMode, Payment
from fluxpay.stores.pool import Pool
from fluxpay.stores.writer import PaymentWriter
from tests.conftest import Database
from tests.stores.postings import posting, tenant_id

PATIENCE_S = 60


async def pay(
    pool: Pool,
    *,
    count: int = 1,
    tenants: int = 1,
    capture: CaptureMode = CaptureMode.AUTOMATIC,
    now: datetime | None = None,
) -> list[Payment]:
    """Make payments, each in a transaction of its own; fresh tenants take turns."""
    writer = PaymentWriter(pool, batch_max=1, writers_max=4)
    ids = [tenant_id() for _ in range(tenants)]
    made = [
        posting(ids[number % tenants], f"key-{number}", capture=capture, now=now)
        for number in range(count)
    ]
    await asyncio.gather(*(writer.post(one) for one in made))
    return [one.payment for one in made]


def rows(database: Database, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Ask as the owner; what was changed is committed."""
    with closing(psycopg2.connect(database.owner_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(sql, values)
        return [] if cursor.description is None else cursor.fetchall()


def count(database: Database, table: str) -> int:
    """How many rows a table has."""
    return int(rows(database, f"SELECT count(*) FROM {table}")[0][0])


def statuses(database: Database) -> dict[str, int]:
    """How many payments are in each status."""
    return dict(rows(database, "SELECT status, count(*) FROM payments GROUP BY status"))


async def until(happened: Callable[[], bool]) -> None:
    """Wait for something that the worker does by itself."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline_s, "the worker did not do it"
        await asyncio.sleep(0.02)


def assert_each_transfer_is_sealed_once(database: Database) -> None:
    """Compare the ledger with all that sealing derives from it: entries, totals, chain."""
    side = "tenant_id, transfer_id, account_id, direction, layer, amount, currency"
    order = "ORDER BY tenant_id, transfer_id, direction"
    expected = rows(database, f"SELECT {side} FROM ledger_entries {order}")
    assert expected == rows(database, f"SELECT {side} FROM account_entries {order}")

    named = [tuple(row[:2]) for row in expected[::2]]
    assert named == rows(
        database, "SELECT tenant_id, transfer_id FROM sealed_transfers ORDER BY 1, 2"
    )
    _assert_totals_run(database)
    _assert_chain_holds(database)


def _assert_totals_run(database: Database) -> None:
    running: Counter[tuple[str, str, str]] = Counter()
    last: Counter[str] = Counter()
    kinds = [(layer, side) for layer in ("posted", "pending") for side in ("debit", "credit")]
    totals = ", ".join(f"{layer}_{side}" for layer, side in kinds)
    for account, seq, layer, direction, amount, *told in rows(
        database,
        f"SELECT account_id, seq, layer, direction, amount, {totals} FROM account_entries"
        " ORDER BY account_id, seq",
    ):
        last[account] += 1
        assert last[account] == seq
        running[account, layer, direction] += amount
        assert [running[account, *kind] for kind in kinds] == told


def _assert_chain_holds(database: Database) -> None:
    sealed = rows(
        database,
        "SELECT tenant_id, seal_seq, position, digest FROM sealed_transfers ORDER BY 1, 2, 3",
    )
    links = rows(
        database, "SELECT tenant_id, seq, transfers, digest FROM ledger_seals ORDER BY 1, 2"
    )
    assert [(one[0], one[1]) for one in links] == sorted({(one[0], one[1]) for one in sealed})
    head: dict[str, tuple[int, bytes]] = {}
    for tenant, seq, transfers, digest in links:
        last_seq, last_digest = head.get(tenant, (0, b""))
        assert last_seq + 1 == seq
        members = [one for one in sealed if one[:2] == (tenant, seq)]
        assert list(range(1, transfers + 1)) == [one[2] for one in members]
        assert _chained(last_digest, (bytes(one[3]) for one in members)) == bytes(digest)
        head[tenant] = (seq, bytes(digest))


def _chained(last: bytes, digests: Iterable[bytes]) -> bytes:
    return hashlib.sha256(last + b"".join(digests)).digest()
