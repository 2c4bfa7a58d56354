"""What a long history costs a balance: an account of a million entries beside one of a thousand.

Knows how to write a history past the service, and how to time single requests. The two accounts
take turns, request by request, so that the machine's drift meets both alike.
"""

import statistics
from contextlib import closing
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Final

import aiohttp
import psycopg2

from fluxpay.core.ledger import AccountKind, account
from tests.bench import preload
from tests.e2e.serving import Customer, Service

ENTRIES: Final = {"short": 1_000, "long": 1_000_000}
REQUESTS: Final = 300
_PART: Final = 50_000
_SPAN: Final = timedelta(days=1)
_FILL: Final = """
    INSERT INTO ledger_transfers (tenant_id, id, kind, payment_id, debit_account_id,
                                  credit_account_id, amount, currency, created_at)
    SELECT %(tenant)s, 'trf_' || lpad(n::text, 26, '0'), 'capture',
           'pay_' || lpad(n::text, 26, '0'),
           %(debit)s, %(credit)s, 1 + n %% 1000, 'EUR', %(since)s + n * %(step)s
    FROM generate_series(%(first)s, %(last)s) AS n
"""
_OPEN: Final = """
    INSERT INTO accounts (tenant_id, id, kind, currency, created_at)
    VALUES (%s, %s, %s, 'EUR', now()) ON CONFLICT DO NOTHING
"""


def fill(owner_url: str, customer: Customer, *, entries: int) -> None:
    """Give the customer's accounts a history of one day, and seal it."""
    since = datetime.now(UTC) - _SPAN
    sides = {
        side: account(customer.tenant_id, kind, "EUR")
        for side, kind in (("debit", AccountKind.PLATFORM), ("credit", AccountKind.MERCHANT))
    }
    with closing(psycopg2.connect(owner_url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        for one in sides.values():
            cursor.execute(_OPEN, (customer.tenant_id, one.id, one.kind))
        for first in range(1, entries + 1, _PART):
            values = {
                "tenant": customer.tenant_id,
                "debit": sides["debit"].id,
                "credit": sides["credit"].id,
                "since": since,
                "step": _SPAN / entries,
                "first": first,
                "last": min(first + _PART - 1, entries),
            }
            cursor.execute(_FILL, values)
        preload.seal(owner_url, entries)
        cursor.execute("ANALYZE ledger_transfers, account_entries, sealed_transfers")


async def measure(service: Service, customers: dict[str, Customer]) -> dict[str, float]:
    """Median seconds of a balance, now and in the middle of the history, by account."""
    middle = (datetime.now(UTC) - _SPAN / 2).isoformat().replace("+00:00", "Z")
    seen: dict[str, list[float]] = {}
    async with aiohttp.ClientSession() as session:
        for _ in range(REQUESTS):
            for name, customer in customers.items():
                merchant = account(customer.tenant_id, AccountKind.MERCHANT, "EUR")
                url = f"{service.api_url}/v1/accounts/{merchant.id}/balance"
                for label, parameters in (("now", {}), ("past", {"at": middle})):
                    started_s = perf_counter()
                    async with session.get(
                        url, params=parameters, headers=customer.headers, raise_for_status=True
                    ) as answer:
                        await answer.read()
                    seen.setdefault(f"{label}, {name}", []).append(perf_counter() - started_s)
    return {name: statistics.median(latencies) for name, latencies in seen.items()}
