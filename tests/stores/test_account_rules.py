"""Accounts and their rule on a real Postgres: who waits for whom, and what is written once."""

import asyncio
import json
from contextlib import closing

import psycopg2
import pytest
from psycopg2 import errors

from fluxpay.core.ids import IdKind, encode
from fluxpay.core.ledger import AccountKind, account
from fluxpay.core.payment_changes import Changed
from fluxpay.core.problems import Code, Refused
from fluxpay.stores.pool import Pool
from fluxpay.stores.transfers import Transfers
from tests.conftest import Database
from tests.stores.postings import tenant_id
from tests.stores.purses import (
    asking,
    counts,
    held_minor,
    kinds,
    opening,
    pay,
    purses,
    rows,
    ruling,
    under_way,
    until_waiting,
)


async def test_an_account_without_the_rule_is_not_locked(pool: Pool, database: Database) -> None:
    made = await purses(pool)
    with under_way(database, made):
        assert isinstance(await Transfers(pool).post(made.moving(5)), Changed)


async def test_a_transfer_waits_for_another_that_looks_at_an_account_with_the_rule(
    pool: Pool, database: Database
) -> None:
    made = await purses(pool, reserve_minor=100, ruled=True)
    with under_way(database, made) as other:
        waiting = asyncio.ensure_future(Transfers(pool).post(made.moving(5)))
        await until_waiting(database, waiting)
        assert not waiting.done()
        other.rollback()
        assert isinstance(await waiting, Changed)


@pytest.mark.parametrize("by", ["switching", "opening"])
async def test_a_rule_waits_for_transfers_under_way_and_holds_for_all_after_it(
    pool: Pool, database: Database, by: str
) -> None:
    made, store = await purses(pool), Transfers(pool)
    rule = ruling(made.tenant_id, made.reserve.id, no_overdraft=True)
    again = opening(made.tenant_id, AccountKind.RESERVE, no_overdraft=True)
    with under_way(database, made) as other:
        writing = store.put_account(again) if by == "opening" else store.set_no_overdraft(rule)
        waiting = asyncio.ensure_future(writing)
        await until_waiting(database, waiting)
        after = asyncio.ensure_future(store.post(made.moving(5)))
        assert not waiting.done()
        other.rollback()
        assert isinstance(await waiting, Changed)
        refused = await after
        assert isinstance(refused, Refused)
        assert Code.INSUFFICIENT_FUNDS is refused.code


async def test_opening_an_account_as_it_is_undoes_no_rule_that_is_being_set(
    pool: Pool, database: Database
) -> None:
    made, store = await purses(pool), Transfers(pool)
    with closing(psycopg2.connect(database.app_url)) as other, other.cursor() as cursor:
        cursor.execute("SELECT set_config('fluxpay.tenant', %s, true)", (made.tenant_id,))
        cursor.execute("SELECT lock_account_rules()")
        rule = {"id": made.reserve.id, "kind": "reserve", "currency": "EUR", "no_overdraft": True}
        record = {"idempotency_key": "rule", "fingerprint": "0" * 64, "resource_id": "acc_1"}
        kept = {"status": 200, "body": "{}", "created_at": "2026-01-01T00:00:00Z"}
        parts = {"account": rule | {"created_at": kept["created_at"]}, "record": record | kept}
        cursor.execute("SELECT put_account(%s::json)", (json.dumps(parts),))
        assert (True,) == cursor.fetchone()
        opened = await store.put_account(opening(made.tenant_id, AccountKind.RESERVE))
        assert isinstance(opened, Changed)
        other.commit()
    assert isinstance(await store.post(made.moving(5)), Refused)


async def test_an_account_that_is_opened_at_once_by_many_is_one(
    pool: Pool, other_pool: Pool, database: Database
) -> None:
    tenant, stores = tenant_id(), (Transfers(pool), Transfers(other_pool))
    outcomes = await asyncio.gather(
        *(stores[n % 2].put_account(opening(tenant, AccountKind.RESERVE)) for n in range(16))
    )
    assert {Changed: 16} == kinds(outcomes)
    assert 1 == len({one.reply.body for one in outcomes if isinstance(one, Changed)})
    sql = "SELECT id, kind, currency, no_overdraft FROM accounts"
    expected = [(account(tenant, AccountKind.RESERVE, "EUR").id, "reserve", "EUR", False)]
    assert expected == rows(database, sql)


async def test_opening_an_account_again_switches_its_rule_only_where_it_is_told_to(
    pool: Pool,
) -> None:
    tenant, store = tenant_id(), Transfers(pool)
    outcomes = [
        await store.put_account(opening(tenant, AccountKind.RESERVE, no_overdraft=wanted))
        for wanted in (None, True, None, False, None)
    ]
    documents = [json.loads(one.reply.body) for one in outcomes if isinstance(one, Changed)]
    assert [False, True, True, False, False] == [one["no_overdraft"] for one in documents]
    assert 1 == len({one["created_at"] for one in documents})


async def test_the_rule_can_be_set_on_an_account_that_payments_opened(
    pool: Pool, database: Database
) -> None:
    tenant, store = tenant_id(), Transfers(pool)
    await pay(pool, tenant)
    merchant = account(tenant, AccountKind.MERCHANT, "EUR")
    await store.put_account(opening(tenant, AccountKind.RESERVE))
    await store.set_no_overdraft(ruling(tenant, merchant.id, no_overdraft=True))
    reserve_id = account(tenant, AccountKind.RESERVE, "EUR").id
    outcomes = [
        await store.post(asking(tenant, merchant.id, reserve_id, amount_minor))
        for amount_minor in (1251, 1250, 1)
    ]
    assert [Refused, Changed, Refused] == [type(one) for one in outcomes]
    assert 0 == held_minor(database, merchant)


async def test_the_rule_of_another_tenants_account_cannot_be_set(
    pool: Pool, database: Database
) -> None:
    others, store = await purses(pool), Transfers(pool)
    before = counts(database)
    for account_id in (others.reserve.id, encode(IdKind.ACCOUNT, 1)):
        rule = ruling(tenant_id(), account_id, no_overdraft=True)
        assert await store.set_no_overdraft(rule) is None
    assert before == counts(database)
    assert [(False,)] == rows(database, "SELECT DISTINCT no_overdraft FROM accounts")


async def test_lock_accounts_shows_no_account_of_another_tenant(pool: Pool) -> None:
    others = await purses(pool, ruled=True)
    async with pool.connection() as connection, connection.transaction(tenant=tenant_id()):
        sql = "SELECT id FROM lock_accounts(%s)"
        assert [] == await connection.fetch_all(sql, ([others.reserve.id],))


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT claim_key('{}'::json)",
        "UPDATE accounts SET no_overdraft = false",
        "INSERT INTO accounts (tenant_id) VALUES ('ten_1')",
    ],
)
def test_the_service_writes_accounts_and_records_through_the_functions_only(
    database: Database, statement: str
) -> None:
    with (
        closing(psycopg2.connect(database.app_url)) as app,
        app.cursor() as cursor,
        pytest.raises(errors.InsufficientPrivilege),
    ):
        cursor.execute(statement)
