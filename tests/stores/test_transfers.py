"""Transfers on a real Postgres: once for each claim, never below zero where the rule is."""

import asyncio
import json
from contextlib import closing
from dataclasses import replace
from typing import Any

import psycopg2
import pytest
import uuid_utils
from psycopg2 import errors

from fluxpay.core.effects import FindTransfer, PostTransfer, PutAccount, SetNoOverdraft
from fluxpay.core.idempotency import Expired, Mismatched, Replayed, StoredReply
from fluxpay.core.ids import IdKind, encode
from fluxpay.core.ledger import AccountKind, TransferKind, account
from fluxpay.core.payment_changes import Changed
from fluxpay.core.problems import Refused
from fluxpay.stores.connection import SessionLimits
from fluxpay.stores.database import Database as Service
from fluxpay.stores.pool import Pool
from fluxpay.stores.problems import OutcomeUnknown, SerializationLost
from fluxpay.stores.transfers import Transfers
from tests.conftest import Database
from tests.stores.postings import tenant_id
from tests.stores.purses import (
    TABLES,
    asking,
    counts,
    held_minor,
    kinds,
    opening,
    pay,
    purses,
    rows,
    ruling,
    until_waiting,
)


async def test_a_transfer_is_written_with_its_record_and_its_event(
    pool: Pool, database: Database
) -> None:
    made = await purses(pool)
    before = counts(database)
    effect = made.moving(700, key="k")
    changed = await Transfers(pool).post(effect)
    assert isinstance(changed, Changed)
    document = json.loads(changed.reply.body)
    assert {table: count + 1 for table, count in before.items()} == counts(database)
    (record,) = rows(
        database,
        "SELECT resource_id, status, body, location FROM idempotency_records"
        " WHERE idempotency_key = 'k'",
    )
    (event,) = rows(database, "SELECT type, subject_id, data FROM events")
    assert (document["id"], 201, changed.reply.body.decode(), changed.reply.location) == record
    assert ("transfer.created", document["id"], document) == event
    (written,) = rows(
        database,
        "SELECT kind, payment_id, debit_account_id, credit_account_id, amount, currency,"
        " description, layer, reverses FROM ledger_transfers",
    )
    ids = (made.reserve.id, made.payout.id)
    assert ("transfer", None, *ids, 700, "EUR", "Week 9", "posted", None) == written


async def test_a_transfer_of_any_kind_is_found_by_its_own_tenant_alone(pool: Pool) -> None:
    made, store = await purses(pool), Transfers(pool)
    changed = await store.post(made.moving(700))
    assert isinstance(changed, Changed)
    own_id, payment_key = json.loads(changed.reply.body)["id"], "paid"
    capture_id = await pay(pool, made.tenant_id, payment_key)
    own = await store.find(FindTransfer(made.tenant_id, own_id))
    capture = await store.find(FindTransfer(made.tenant_id, capture_id))
    assert own is not None
    assert capture is not None
    assert (made.reserve, made.payout) == (own.transfer.debit, own.transfer.credit)
    assert ("Week 9", None) == (own.description, own.payment_id)
    assert TransferKind.CAPTURE is capture.transfer.kind
    assert capture.payment_id is not None
    assert capture.payment_id.removeprefix("pay_") == capture_id.removeprefix("trf_")
    assert await store.find(FindTransfer(tenant_id(), own_id)) is None


async def test_another_tenants_account_looks_like_one_that_does_not_exist(
    pool: Pool, database: Database
) -> None:
    mine, others, store = await purses(pool), await purses(pool), Transfers(pool)
    before = counts(database)
    unknown_id = encode(IdKind.ACCOUNT, 1)
    refused = [
        await store.post(asking(mine.tenant_id, one_id, mine.payout.id, 5, key="k"))
        for one_id in (unknown_id, others.reserve.id)
    ]
    assert isinstance(refused[0], Refused)
    assert refused[0] == refused[1]
    assert before == counts(database)
    assert isinstance(await store.post(mine.moving(5, key="k")), Changed)


async def test_the_function_itself_refuses_accounts_of_another_tenant_or_currency(
    pool: Pool,
) -> None:
    mine, others = await purses(pool), await purses(pool)
    await Transfers(pool).put_account(opening(mine.tenant_id, AccountKind.RESERVE, currency="JPY"))
    yen_id = account(mine.tenant_id, AccountKind.RESERVE, "JPY").id
    for debit_id, credit_id in (
        (others.reserve.id, mine.payout.id),
        (mine.payout.id, others.reserve.id),
        (yen_id, mine.payout.id),
        (mine.payout.id, yen_id),
    ):
        transfer = {
            "id": "trf_1",
            "debit_account_id": debit_id,
            "credit_account_id": credit_id,
            "amount": 1,
            "currency": "EUR",
            "created_at": "2026-01-01T00:00:00Z",
        }
        record = {
            "idempotency_key": "k",
            "fingerprint": "0" * 64,
            "resource_id": "trf_1",
            "status": 201,
            "body": "{}",
            "created_at": "2026-01-01T00:00:00Z",
        }
        parts = json.dumps({"transfer": transfer, "record": record})
        async with pool.connection() as connection:
            with pytest.raises(errors.RaiseException, match="not the tenant's"):
                async with connection.transaction(tenant=mine.tenant_id):
                    await connection.execute("SELECT post_transfer(%s::json)", (parts,))


@pytest.mark.parametrize("ruled", [False, True])
async def test_opposing_transfers_at_once_all_succeed_and_come_to_nothing(
    pool: Pool, other_pool: Pool, database: Database, ruled: bool
) -> None:
    made = await purses(pool, reserve_minor=6400, ruled=ruled)
    await Transfers(pool).post(made.moving(3200))
    stores = (Transfers(pool), Transfers(other_pool))
    outcomes = await asyncio.gather(
        *(stores[n % 2].post(made.moving(100, back=n % 4 < 2)) for n in range(64))
    )
    assert {Changed: 64} == kinds(outcomes)
    assert (3200, 3200) == (held_minor(database, made.reserve), held_minor(database, made.payout))


async def test_an_account_with_the_rule_gives_to_just_as_many_at_once_as_it_has_for(
    pool: Pool, other_pool: Pool, database: Database
) -> None:
    made = await purses(pool, reserve_minor=1000, ruled=True)
    stores = (Transfers(pool), Transfers(other_pool))
    outcomes = await asyncio.gather(*(stores[n % 2].post(made.moving(30)) for n in range(64)))
    assert {Changed: 33, Refused: 31} == kinds(outcomes)
    told = {dict(one.members)["available"] for one in outcomes if isinstance(one, Refused)}
    assert {10} == told
    assert (10, 990) == (held_minor(database, made.reserve), held_minor(database, made.payout))


async def test_the_rule_holds_too_where_the_database_starts_sessions_with_repeatable_read(
    database: Database,
) -> None:
    level = "default_transaction_isolation = 'repeatable read'"
    with closing(psycopg2.connect(database.owner_url)) as owner, owner, owner.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {database.name} SET {level}")
    pool = Service(database.app_url, limits=SessionLimits()).pool(max_size=8)
    made = await purses(pool, reserve_minor=1000, ruled=True)
    store = Transfers(pool)
    outcomes = await asyncio.gather(*(store.post(made.moving(300)) for _ in range(16)))
    await pool.close()
    assert {Changed: 3, Refused: 13} == kinds(outcomes)
    assert (100, 900) == (held_minor(database, made.reserve), held_minor(database, made.payout))


async def test_what_comes_and_goes_at_once_never_overdraws_an_account_with_the_rule(
    pool: Pool, other_pool: Pool, database: Database
) -> None:
    made = await purses(pool, reserve_minor=100, ruled=True)
    stores = (Transfers(pool), Transfers(other_pool))
    outcomes = await asyncio.gather(
        *(stores[n % 2].post(made.moving(40, back=n % 4 < 2)) for n in range(64))
    )
    assert {Changed, Refused} >= set(kinds(outcomes))
    sql = "SELECT debit_account_id FROM ledger_transfers WHERE amount = 40"
    went = [debit_id == made.reserve.id for (debit_id,) in rows(database, sql)]
    net = sum(40 if one else -40 for one in went)
    assert (100 - net, net) == (
        held_minor(database, made.reserve),
        held_minor(database, made.payout),
    )
    assert 0 <= net <= 100
    assert kinds(outcomes)[Changed] == len(went)


@pytest.mark.parametrize("ruled", [False, True])
async def test_twins_at_once_make_one_transfer_and_get_one_answer(
    pool: Pool, other_pool: Pool, database: Database, ruled: bool
) -> None:
    made = await purses(pool, reserve_minor=100, ruled=ruled)
    before = counts(database)
    twin = made.moving(60, key="twin")
    stores = (Transfers(pool), Transfers(other_pool))
    outcomes = await asyncio.gather(
        *(stores[n % 2].post(replace(twin, uuid=uuid_utils.uuid7().int)) for n in range(8))
    )
    assert {Changed: 1, Replayed: 7} == kinds(outcomes)
    bodies = {one.reply.body for one in outcomes if isinstance(one, Changed | Replayed)}
    assert 1 == len(bodies)
    assert {table: count + 1 for table, count in before.items()} == counts(database)


async def test_a_transfer_whose_key_is_claimed_after_it_looked_is_not_told_as_made(
    pool: Pool, database: Database
) -> None:
    made = await purses(pool)
    asked = made.moving(1, key="k")
    twin = StoredReply(asked.claim.fingerprint, 201, b"{}", "/v1/transfers/trf_1")
    with closing(psycopg2.connect(database.owner_url)) as owner, owner.cursor() as cursor:
        cursor.execute(
            "INSERT INTO idempotency_records VALUES"
            " (%s, 'k', decode(%s, 'hex'), 'trf_1', 201, '{}', %s, now())",
            (made.tenant_id, twin.fingerprint, twin.location),
        )
        waiting = asyncio.ensure_future(Transfers(pool).post(asked))
        await until_waiting(database, waiting)
        owner.commit()
    assert Replayed(twin) == await waiting
    assert 0 == counts(database)["ledger_transfers"]


async def test_a_key_that_is_used_for_two_transfers_at_once_makes_one(
    pool: Pool, database: Database
) -> None:
    made, store = await purses(pool), Transfers(pool)
    outcomes = await asyncio.gather(
        store.post(made.moving(1, key="k")), store.post(made.moving(2, key="k"))
    )
    assert {Changed: 1, Mismatched: 1} == kinds(outcomes)
    assert 1 == counts(database)["ledger_transfers"]


async def test_a_key_that_names_a_payment_whose_record_is_gone_is_expired(
    pool: Pool, database: Database
) -> None:
    made = await purses(pool)
    await pay(pool, made.tenant_id, "old")
    with closing(psycopg2.connect(database.owner_url)) as owner, owner.cursor() as cursor:
        cursor.execute("DELETE FROM idempotency_records WHERE idempotency_key = 'old'")
        owner.commit()
    assert isinstance(await Transfers(pool).post(made.moving(1, key="old")), Expired)


class LosesReplies(Transfers):
    """Commits, and then hears nothing of it."""

    lost: int = 1

    async def _post_once(self, effect: PostTransfer) -> Any:
        return self._heard(await super()._post_once(effect))

    async def _put_once(self, effect: PutAccount) -> Any:
        return self._heard(await super()._put_once(effect))

    async def _rule_once(self, effect: SetNoOverdraft) -> Any:
        return self._heard(await super()._rule_once(effect))

    def _heard(self, outcome: object) -> object:
        if self.lost:
            self.lost -= 1
            raise OutcomeUnknown("the reply was lost")
        return outcome


async def test_a_lost_reply_is_found_under_its_key(pool: Pool, database: Database) -> None:
    made = await purses(pool)
    before = counts(database)
    store = LosesReplies(pool)
    outcomes: list[object] = [await store.post(made.moving(7))]
    store.lost = 1
    outcomes.append(await store.put_account(opening(made.tenant_id, AccountKind.PAYOUT)))
    store.lost = 1
    ruled = ruling(made.tenant_id, made.payout.id, no_overdraft=True)
    outcomes.append(await store.set_no_overdraft(ruled))
    assert {Replayed: 3} == kinds(outcomes)
    expected = dict(zip(TABLES, (1, 3, 1), strict=True))
    assert expected == {table: count - before[table] for table, count in counts(database).items()}


async def test_a_reply_that_stays_lost_is_an_error_of_the_store(pool: Pool) -> None:
    made, store = await purses(pool), LosesReplies(pool)
    store.lost = 100
    with pytest.raises(OutcomeUnknown):
        await store.post(made.moving(7))


async def test_a_race_that_stays_lost_is_an_error_of_the_store(pool: Pool) -> None:
    class LosesRaces(Transfers):
        async def _post_once(self, effect: PostTransfer) -> Any:
            raise SerializationLost(f"deadlock detected: {effect.claim.key}")

    with pytest.raises(SerializationLost):
        await LosesRaces(pool).post((await purses(pool)).moving(7))


async def test_a_balance_that_was_sealed_counts_like_one_that_was_not(
    pool: Pool, database: Database
) -> None:
    made, store = await purses(pool, reserve_minor=100, ruled=True), Transfers(pool)
    await store.post(made.moving(30))
    async with pool.connection() as connection:
        await connection.execute("SELECT seal_ledger(1000)")
    await store.post(made.moving(30))
    outcomes = [await store.post(made.moving(amount_minor)) for amount_minor in (41, 40)]
    assert [Refused, Changed] == [type(one) for one in outcomes]
    assert 0 == held_minor(database, made.reserve)
