"""Reading the books while they are written and sealed: exact at every instant, nothing missed."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxpay.core.books import (
    AccountFilter,
    OpenAccount,
    Place,
    Totals,
)
from fluxpay.core.effects import (
    FindAccount,
    ListAccounts,
    ReadStatement,
    ReadTotals,
    ReadTrialBalance,
)
from fluxpay.core.ledger import AccountKind, account
from fluxpay.core.money import AMOUNT_MINOR_MAX
from fluxpay.stores.books import Books
from fluxpay.stores.connection import SessionLimits
from fluxpay.stores.database import Database as Service
from fluxpay.stores.pool import Pool
from tests.conftest import Database
from tests.stores.ledger_sessions import EPOCH, SECONDS, Ledger, Sessions, instant, sessions
from tests.stores.postings import tenant_id
from tests.stores.statements import (
    Follower,
    check_books,
    check_statement,
    statement_page,
    totals,
    walk,
)


@pytest.fixture
def writing(database: Database) -> Iterator[Sessions]:
    """Sessions on the ledger."""
    with sessions(database) as opened:
        yield opened


@pytest.fixture
def ledger(writing: Sessions) -> Iterator[Ledger]:
    """The ledger of one tenant."""
    with writing.ledger() as one:
        yield one


@pytest.fixture
def books(pool: Pool) -> Books:
    """The books as the service reads them."""
    return Books(pool)


INSTANTS = (None, *(instant(second) for second in range(-1, SECONDS + 2)))
Action = Callable[[Ledger], object]
WRITERS = st.integers(min_value=0, max_value=2)
POSTS = st.builds(
    lambda session, second, amount, sides, pending: (
        "post",
        lambda ledger: ledger.post(
            session, second=second, amount_minor=amount, sides=sides, pending=pending
        ),
    ),
    WRITERS,
    st.integers(min_value=0, max_value=SECONDS),
    st.integers(min_value=1, max_value=1_000),
    st.sampled_from([(one, other) for one in range(3) for other in range(3) if one != other]),
    st.booleans(),
)
COMMITS = st.builds(lambda session: ("commit", lambda ledger: ledger.commit(session)), WRITERS)
SEALS = st.builds(
    lambda at_most: ("seal", lambda ledger: ledger.seal(at_most)),
    st.sampled_from([1, 2, 3, 100]),
)
ACTIONS = st.lists(st.one_of(POSTS, POSTS, COMMITS, SEALS), min_size=4, max_size=20)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(actions=ACTIONS)
def test_whoever_commits_when_and_whatever_is_sealed_the_books_are_exact(
    database: Database, writing: Sessions, actions: list[tuple[str, Action]]
) -> None:
    async def live(ledger: Ledger, books: Books) -> None:
        followers = [Follower(one_id) for one_id in ledger.account_ids]
        for position, (name, act) in enumerate(actions):
            act(ledger)
            if name != "post":
                follower = followers[position % len(followers)]
                await check_books(books, ledger, None, instant(SECONDS // 2))
                await check_statement(books, ledger, follower.account_id)
                await follower.read_on(books, ledger)
        ledger.commit_all()
        await check_books(books, ledger, *INSTANTS)
        ledger.seal_all()
        await check_books(books, ledger, *INSTANTS)
        for follower in followers:
            await check_statement(books, ledger, follower.account_id)
            await follower.read_on(books, ledger)
            assert set(ledger.committed(follower.account_id)) == follower.seen
            lines, _ = await walk(books, ledger, follower.account_id, after=Place(), limit=100)
            assert lines == [follower.final[number] for number in sorted(follower.final)]

    async def connected(ledger: Ledger) -> None:
        pool = Service(database.app_url, limits=SessionLimits()).pool(max_size=1)
        try:
            await live(ledger, Books(pool))
        finally:
            await pool.close()

    with writing.ledger() as ledger:
        asyncio.run(connected(ledger))


async def test_a_transaction_that_commits_late_is_never_overtaken_by_the_seal(
    books: Books, ledger: Ledger
) -> None:
    merchant = ledger.account_ids[0]
    # The oldest transaction writes first and commits last.
    slow = ledger.post(0, second=0, amount_minor=100)
    quick = ledger.post(1, second=5, amount_minor=10)
    ledger.commit(1)
    assert 0 == ledger.seal()
    assert {merchant: Totals(posted_credit_minor=10)}.items() <= (
        await totals(books, ledger, None)
    ).items()
    ledger.commit(0)
    assert Totals(posted_credit_minor=100) == (await totals(books, ledger, instant(4)))[merchant]
    ledger.seal_until(2)
    lines, _ = await walk(books, ledger, merchant, after=Place(), limit=10)
    assert [slow, quick] == [line.transfer_id for line in lines]
    assert Totals(posted_credit_minor=100) == (await totals(books, ledger, instant(4)))[merchant]


async def test_an_entry_sealed_behind_a_younger_one_counts_from_its_own_instant(
    books: Books, ledger: Ledger
) -> None:
    merchant = ledger.account_ids[0]
    young = ledger.post(0, second=5, amount_minor=10)
    old = ledger.post(1, second=1, amount_minor=100)
    ledger.commit(0)
    ledger.seal_until(1)
    ledger.commit(1)
    ledger.seal_until(1)
    lines, _ = await walk(books, ledger, merchant, after=Place(), limit=10)
    assert [young, old] == [line.transfer_id for line in lines]
    credited = [
        (await totals(books, ledger, instant(second)))[merchant].posted_credit_minor
        for second in (0, 1, 4, 5)
    ]
    assert [0, 100, 100, 110] == credited


async def test_an_answer_read_while_it_is_sealed_doubles_nothing_and_hides_nothing(
    books: Books, ledger: Ledger, database: Database
) -> None:
    merchant = ledger.account_ids[0]
    for number in range(300):
        ledger.post(0, second=number % SECONDS)
        ledger.commit(0)
    sealed_all = threading.Event()

    def seal_on() -> None:
        with closing(psycopg2.connect(database.app_url)) as session, session.cursor() as sql:
            session.autocommit = True
            for _ in range(100):
                sql.execute("SELECT seal_ledger(3)")
        sealed_all.set()

    worker = threading.Thread(target=seal_on)
    worker.start()
    read: list[tuple[int, int]] = []
    try:
        while not sealed_all.is_set():
            found = (await totals(books, ledger, None))[merchant]
            page = await statement_page(books, ledger, merchant, after=Place(), limit=400)
            lines = page.statement.lines
            numbers = [one.totals.posted_credit_minor for one in lines]
            assert list(range(1, 301)) == numbers
            read.append((found.posted_credit_minor, len({line.transfer_id for line in lines})))
    finally:
        worker.join()
    assert {(300, 300)} == set(read)
    ledger.seal_all()
    final = await statement_page(books, ledger, merchant, after=Place(), limit=400)
    assert all(line.seq is not None for line in final.statement.lines)


async def test_the_tail_is_walked_in_pages_and_begins_again_once_it_is_sealed(
    books: Books, ledger: Ledger
) -> None:
    merchant = ledger.account_ids[0]
    ids = []
    for second in range(5):
        ids.append(ledger.post(0, second=second))
        ledger.commit(0)
    first = await statement_page(books, ledger, merchant, after=Place(), limit=2)
    assert first.following is not None
    assert (ids[:2], Place(0, ids[1]), Place()) == (
        [line.transfer_id for line in first.statement.lines],
        first.following,
        first.resume,
    )
    second_page = await statement_page(books, ledger, merchant, after=first.following, limit=2)
    assert ids[2:4] == [line.transfer_id for line in second_page.statement.lines]
    ledger.seal_all()
    again, _ = await walk(books, ledger, merchant, after=first.following, limit=2)
    assert ids == [line.transfer_id for line in again]


async def test_a_page_within_a_tail_that_is_partly_sealed_by_now_begins_before_it(
    books: Books, ledger: Ledger
) -> None:
    merchant = ledger.account_ids[0]
    ids = []
    for second in (1, 3, 4):
        ids.append(ledger.post(0, second=second))
        ledger.commit(0)
    page = await statement_page(books, ledger, merchant, after=Place(), limit=2)
    assert Place(0, ids[1]) == page.following
    late = ledger.post(0, second=2)
    ledger.commit(0)
    ledger.seal_until(1, at_most=1)
    again, _ = await walk(books, ledger, merchant, after=page.following, limit=10)
    assert [ids[0], late, ids[1], ids[2]] == [line.transfer_id for line in again]


async def test_sums_may_outgrow_every_integer_of_postgres(books: Books, ledger: Ledger) -> None:
    merchant = ledger.account_ids[0]
    for _ in range(1_030):
        ledger.post(0, amount_minor=AMOUNT_MINOR_MAX)
    ledger.commit(0)
    expected = 1_030 * AMOUNT_MINOR_MAX
    assert expected > 2**63
    assert expected == (await totals(books, ledger, None))[merchant].posted_credit_minor
    ledger.seal_until(1_030)
    for at in (None, instant(0)):
        assert expected == (await totals(books, ledger, at))[merchant].posted_credit_minor


async def test_what_is_another_tenants_is_not_there(
    books: Books, ledger: Ledger, writing: Sessions
) -> None:
    ledger.post(0)
    ledger.commit(0)
    ledger.seal_all()
    ledger.post(0)
    ledger.commit(0)
    merchant = ledger.account_ids[0]
    with writing.ledger() as other:
        pass
    for stranger in (other.tenant_id, tenant_id()):
        assert await books.find_account(FindAccount(stranger, merchant)) is None
        assert {} == await books.totals(ReadTotals(stranger, (merchant,), None))
        assert {} == await books.totals(ReadTotals(stranger, (merchant,), instant(0)))
        assert await books.statement(ReadStatement(stranger, merchant, Place(), 10)) is None
        assert () == await books.trial_balance(ReadTrialBalance(stranger, None))


async def test_accounts_are_found_and_listed_by_id_page_by_page(
    books: Books, ledger: Ledger
) -> None:
    opened = sorted(
        (OpenAccount(one, no_overdraft=False, created_at=EPOCH) for one in ledger.accounts),
        key=lambda one: one.account.id,
    )
    everything = ListAccounts(ledger.tenant_id, AccountFilter(), None, 10)
    first = ListAccounts(ledger.tenant_id, AccountFilter(), None, 1)
    rest = ListAccounts(ledger.tenant_id, AccountFilter(), opened[0].account.id, 10)
    assert tuple(opened) == await books.list_accounts(everything)
    assert tuple(opened[:1]) == await books.list_accounts(first)
    assert tuple(opened[1:]) == await books.list_accounts(rest)
    wanted = account(ledger.tenant_id, AccountKind.RESERVE, "EUR")
    reserves = AccountFilter(currency="EUR", kind=AccountKind.RESERVE)
    listed = await books.list_accounts(ListAccounts(ledger.tenant_id, reserves, None, 10))
    assert [wanted] == [one.account for one in listed]
    yen = ListAccounts(ledger.tenant_id, AccountFilter(currency="JPY"), None, 10)
    assert () == await books.list_accounts(yen)
    found = await books.find_account(FindAccount(ledger.tenant_id, wanted.id))
    assert OpenAccount(wanted, no_overdraft=False, created_at=EPOCH) == found


async def test_instants_are_told_in_utc_whatever_the_time_zone_of_the_server(
    books: Books, ledger: Ledger, database: Database
) -> None:
    with ledger.owner.cursor() as sql:
        sql.execute(f"ALTER DATABASE {database.name} SET timezone TO 'Pacific/Auckland'")
    ledger.post(0, second=3)
    ledger.commit(0)
    lines, _ = await walk(books, ledger, ledger.account_ids[0], after=Place(), limit=10)
    found = await books.find_account(FindAccount(ledger.tenant_id, ledger.account_ids[0]))
    assert found is not None
    moments = [lines[0].entry.created_at, found.created_at]
    assert [instant(3), EPOCH] == moments
    assert all(moment.tzinfo is UTC for moment in moments)


def test_a_seal_planned_for_empty_statements_scans_none_of_them(
    ledger: Ledger, database: Database
) -> None:
    with ledger.owner.cursor() as sql:
        sql.execute("VACUUM ANALYZE account_entries, ledger_seals, sealed_transfers")
    for _ in range(50):
        ledger.post(0)
    ledger.commit(0)
    with closing(psycopg2.connect(database.owner_url)) as sealer, sealer.cursor() as sql:
        for _ in range(1_000):
            sql.execute("SELECT seal_ledger(100)")
            if sql.fetchone() == (50,):
                break
            # Something of the server's own held it up.
            sealer.rollback()
            time.sleep(0.01)
        sql.execute(
            "SELECT relname, seq_scan FROM pg_stat_xact_user_tables WHERE relname IN "
            "('account_entries', 'ledger_seals', 'sealed_transfers') ORDER BY relname"
        )
        scans = sql.fetchall()
    assert [("account_entries", 0), ("ledger_seals", 0), ("sealed_transfers", 0)] == scans


def test_a_balance_reads_a_few_pages_however_long_the_account_s_history(
    ledger: Ledger, database: Database
) -> None:
    merchant = ledger.account_ids[0]
    # Two sessions in turn, the second with the elder instants: each seal leaves some late.
    for number in range(60):
        session = number % 2
        for second in range(50):
            ledger.post(session, second=50 * (number - 2 * session) + second)
        if number > 0:
            ledger.commit(1 - session)
            ledger.seal(100)
    ledger.commit_all()
    ledger.seal_all()
    with ledger.owner.cursor() as sql:
        sql.execute("ANALYZE")
        sql.execute("SELECT count(*) FROM account_entries WHERE created_at < latest_at")
        late = sql.fetchone()
    assert late is not None
    assert late > (1_000,)
    with closing(psycopg2.connect(database.app_url)) as reader, reader.cursor() as sql:
        sql.execute("SELECT set_config('fluxpay.tenant', %s, true)", (ledger.tenant_id,))
        # A plan that is kept knows no values: the worst one there is.
        sql.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        instants = (None, instant(10), instant(1_500), instant(2_900), instant(9_999))
        pages = {at: _pages_read(sql, merchant, at) for at in instants}
    assert {} == {at: count for at, count in pages.items() if count > 60}


def _pages_read(sql: Any, account_id: str, at: datetime | None) -> int:
    """How many pages one balance looks at, once the session is warm."""
    question = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM account_totals(%s, %s)"
    sql.execute(question, ([account_id], at))
    sql.execute(question, ([account_id], at))
    ((plan,),) = sql.fetchall()
    top = plan[0]["Plan"]
    return int(top["Shared Hit Blocks"]) + int(top["Shared Read Blocks"])
