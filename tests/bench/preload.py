"""A history: millions of payments with all their rows, as the service would have written them.

Each table is filled by COPY in binary form: one connection makes the rows, another takes them in,
and nobody in between looks at them. Then the ledger is sealed by the function that the worker
calls, so statements, totals and seals are the real ones and `fluxpay verify` finds no fault.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from time import perf_counter, sleep
from typing import Final

import psycopg2

from fluxpay.core.ledger import AccountKind, account

_LOADERS: Final = 2
_STEPS: Final = 20
_PAUSE_S: Final = 0.2
_SEALED_AT_ONCE: Final = 50_000
_TABLES: Final = ("idempotency_records", "payments", "ledger_transfers", "events")
# All that the four rows of a payment say. Ids sort by time and below those that are made today;
# keys are spread over all there could be.
_PAYMENT: Final = """
    SELECT '{tenant}' AS tenant_id, n, id, 'pay_' || id AS payment_id,
           substr(md5('{tenant}' || n), 1, 16) || '-preload' AS idempotency_key, created_at,
           '{{"id":"pay_' || id || '","object":"payment","amount":1250,"currency":"EUR",'
           '"status":"captured","amount_captured":1250,"amount_refunded":0,'
           '"capture":"automatic","description":null,"reference":"order-' || n % 1000
           || '","metadata":{{}},"created_at":"'
           || to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
           || '","expires_at":null}}' AS body
    FROM (
        SELECT n, '01g' || lpad(to_hex(n), 13, '0') || '{mark}' AS id,
               timestamptz '2026-01-01 00:00Z' + n * interval '{step_ms} ms' AS created_at
        FROM generate_series({first}, {last}) AS n
    ) AS numbered
"""
_ROWS: Final = {
    "idempotency_records": """
        (tenant_id, idempotency_key, fingerprint, resource_id, status, body, location, created_at)
        SELECT tenant_id, idempotency_key, sha256(idempotency_key::bytea), payment_id,
               201::smallint, body, '/v1/payments/' || payment_id, created_at FROM p
    """,
    "payments": """
        (tenant_id, id, amount, currency, status, amount_captured, amount_refunded, capture,
         reference, metadata, idempotency_key, created_at)
        SELECT tenant_id, payment_id, 1250::bigint, 'EUR', 'captured', 1250::bigint, 0::bigint,
               'automatic', 'order-' || n % 1000, '{{}}'::jsonb, idempotency_key, created_at FROM p
    """,
    "ledger_transfers": """
        (tenant_id, id, kind, payment_id, debit_account_id, credit_account_id, amount, currency,
         created_at)
        SELECT tenant_id, 'trf_' || id, 'capture', payment_id, '{debit}', '{credit}',
               1250::bigint, 'EUR', created_at FROM p
    """,
    "events": """
        (tenant_id, id, type, subject_id, data, created_at)
        SELECT tenant_id, 'evt_' || id, 'payment.captured', payment_id, body::json, created_at
        FROM p
    """,
}
_OPEN: Final = """
    INSERT INTO accounts (tenant_id, id, kind, currency, created_at)
    VALUES (%s, %s, %s, 'EUR', '2026-01-01 00:00Z') ON CONFLICT DO NOTHING
"""
_SPAN_MS: Final = 180 * 86_400_000
_PART: Final = 50_000


@dataclass(frozen=True, slots=True)
class _Part:
    """Some payments of one tenant; `mark` ends their ids."""

    tenant_id: str
    mark: str
    first: int
    last: int
    step_ms: int


def fill(url: str, tenants: list[str], payments: int, *, tell: Callable[[str], None]) -> None:
    """Give the tenants so many payments between them."""
    parts = _parts(tenants, payments)
    loaded, told, started_s = 0, 0, perf_counter()
    with ThreadPoolExecutor(_LOADERS + 1) as pool:
        # Sealing follows behind, as the worker does.
        sealing = pool.submit(seal, url, payments)
        for done in as_completed([pool.submit(_load, url, part) for part in parts]):
            loaded += done.result()
            if loaded * _STEPS // payments > told:
                told = loaded * _STEPS // payments
                tell(f"preload: {loaded:,} of {payments:,} payments, {_since(started_s)}")
        sealing.result()
    tell(f"preload: all sealed, now vacuum and checkpoint, {_since(started_s)}")
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("VACUUM (ANALYZE)")
        cursor.execute("CHECKPOINT")
    tell(f"preload: done, {_since(started_s)}")


def seal(url: str, transfers: int) -> None:
    """Seal so many transfers, waiting for those that are still being written."""
    sealed = 0
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        # The plan is made once, while the tables are empty: it would read them whole for each row.
        cursor.execute("SET enable_seqscan = off")
        while sealed < transfers:
            cursor.execute("SELECT seal_ledger(%s)", (_SEALED_AT_ONCE,))
            row = cursor.fetchone()
            assert row is not None
            sealed += row[0]
            if row[0] == 0:
                sleep(_PAUSE_S)


def _parts(tenants: list[str], payments: int) -> list[_Part]:
    each, rest = divmod(payments, len(tenants))
    step_ms = max(1, _SPAN_MS // max(1, each))
    return [
        _Part(tenant_id, f"{index:010d}", first, min(first + _PART, size + 1) - 1, step_ms)
        for index, tenant_id in enumerate(tenants)
        for size in (each + (index < rest),)
        for first in range(1, size + 1, _PART)
    ]


def _load(url: str, part: _Part) -> int:
    debit = account(part.tenant_id, AccountKind.PLATFORM, "EUR")
    credit = account(part.tenant_id, AccountKind.MERCHANT, "EUR")
    values = {
        "tenant": part.tenant_id,
        "mark": part.mark,
        "first": part.first,
        "last": part.last,
        "step_ms": part.step_ms,
    }
    payment = _PAYMENT.format(**values)
    with closing(psycopg2.connect(url)) as source, closing(psycopg2.connect(url)) as target:
        with target.cursor() as cursor:
            for one in (debit, credit):
                cursor.execute(_OPEN, (part.tenant_id, one.id, one.kind))
        for table in _TABLES:
            columns, _, select = _ROWS[table].partition(")")
            rows = select.format(debit=debit.id, credit=credit.id)
            _pump(
                source,
                target,
                give=f"COPY (WITH p AS ({payment}) {rows}) TO STDOUT (FORMAT binary)",
                take=f"COPY {table} {columns.strip()}) FROM STDIN (FORMAT binary)",
            )
        target.commit()
    return part.last - part.first + 1


def _pump(
    source: psycopg2.extensions.connection,
    target: psycopg2.extensions.connection,
    *,
    give: str,
    take: str,
) -> None:
    """Copy from one connection into the other through a pipe."""
    reading, writing = os.pipe()
    with (
        ThreadPoolExecutor(1) as pool,
        source.cursor() as giver,
        target.cursor() as taker,
        os.fdopen(reading, "rb") as outlet,
    ):
        given = pool.submit(_give, giver, give, writing)
        taker.copy_expert(take, outlet, size=1 << 20)
        given.result()


def _give(cursor: psycopg2.extensions.cursor, statement: str, writing: int) -> None:
    with os.fdopen(writing, "wb", buffering=1 << 20) as inlet:
        cursor.copy_expert(statement, inlet)


def _since(started_s: float) -> str:
    return f"{perf_counter() - started_s:.0f} s"
