"""Reading the books over HTTP, on the real service."""

import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest

from fluxpay.core.ids import IdKind, encode
from fluxpay.core.ledger import AccountKind, account
from fluxpay.core.payments import instant
from fluxpay.web import cursors
from tests.web.changes import authorized, change
from tests.web.service import PAYMENT, Answer, Service
from tests.web.test_openapi import check

ACCOUNT = "/v1/accounts/{account_id}"


def account_id(service: Service, kind: AccountKind = AccountKind.MERCHANT) -> str:
    """The tenant's account in euros."""
    return account(service.tenant_id, kind, "EUR").id


def seal(service: Service) -> None:
    """Do what the worker does, until all that is committed by now is sealed."""
    with closing(psycopg2.connect(service.settings.database_url)) as session:
        session.autocommit = True
        with session.cursor() as sql:
            sql.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
            (wanted,) = sql.fetchone() or (0,)
            # Something of the server's own may be under way for a moment, and hold it up.
            for _ in range(1_000):
                sql.execute("SELECT seal_ledger(1000)")
                sql.execute("SELECT sealed_below FROM ledger_horizon")
                (sealed_below,) = sql.fetchone() or (0,)
                if sealed_below >= wanted:
                    return
                time.sleep(0.01)
    raise AssertionError("the ledger could not be sealed")


async def balance(service: Service, one_id: str, *, at: str | None = None) -> dict[str, Any]:
    query = "" if at is None else f"?at={quote(at)}"
    answer = await service.call("GET", f"/v1/accounts/{one_id}/balance{query}")
    assert 200 == answer.status, answer.body
    found: dict[str, Any] = answer.document
    return found


def amounts(found: dict[str, Any]) -> tuple[int, int, int]:
    return found["posted"], found["pending"], found["available"]


async def walk(service: Service, path: str, *, limit: int) -> list[Answer]:
    """Every page from a path on."""
    joint = "&" if "?" in path else "?"
    pages = [await service.call("GET", f"{path}{joint}limit={limit}")]
    while (cursor := pages[-1].document["next_cursor"]) is not None:
        assert cursor in pages[-1].headers["Link"]
        path_on = f"{path.partition('?')[0]}?limit={limit}&cursor={cursor}"
        pages.append(await service.call("GET", path_on))
    return pages


def data(pages: Sequence[Answer]) -> list[dict[str, Any]]:
    return [one for page in pages for one in page.document["data"]]


async def test_an_account_is_there_from_the_first_payment_on(service: Service) -> None:
    payment = (await service.pay()).document
    shown = [
        (await service.call("GET", f"/v1/accounts/{account_id(service, kind)}")).document
        for kind in (AccountKind.MERCHANT, AccountKind.PLATFORM)
    ]
    common = {
        "object": "account",
        "currency": "EUR",
        "no_overdraft": False,
        "created_at": payment["created_at"],
    }
    expected = [
        common | {"id": account_id(service), "kind": "merchant", "normal_side": "credit"},
        common
        | {
            "id": account_id(service, AccountKind.PLATFORM),
            "kind": "platform",
            "normal_side": "debit",
        },
    ]
    assert expected == shown


async def test_accounts_are_listed_page_by_page_and_by_filter(service: Service) -> None:
    await service.pay()
    await service.pay(body=PAYMENT | {"currency": "JPY"})
    pages = await walk(service, "/v1/accounts", limit=3)
    everything = data(pages)
    assert [3, 1] == [len(page.document["data"]) for page in pages]
    assert sorted(one["id"] for one in everything) == [one["id"] for one in everything]
    by_filter = {
        "currency=JPY": [one for one in everything if one["currency"] == "JPY"],
        "kind=merchant": [one for one in everything if one["kind"] == "merchant"],
        "kind=payout": [],
        "kind=merchant&currency=EUR": [
            one for one in everything if one["id"] == account_id(service)
        ],
    }
    found = {
        query: (await service.call("GET", f"/v1/accounts?{query}")).document["data"]
        for query in by_filter
    }
    assert by_filter == found
    assert 1 == len(found["kind=merchant&currency=EUR"])


@pytest.mark.parametrize("is_sealed", [False, True], ids=["unsealed", "sealed"])
async def test_a_balance_follows_a_payment_through_its_life(
    service: Service, is_sealed: bool
) -> None:
    payment_id = await authorized(service)
    seen: list[tuple[int, int, int]] = []
    instants: list[str] = []
    for action, amount in (
        (None, None),
        ("capture", 400),
        ("capture", 100),
        ("refunds", 50),
        ("void", None),
    ):
        if action is not None:
            changed = await change(service, payment_id, action, amount=amount)
            assert changed.status in {200, 201}, changed.body
        if is_sealed:
            seal(service)
        both = [
            amounts(await balance(service, account_id(service, kind)))
            for kind in (AccountKind.MERCHANT, AccountKind.PLATFORM)
        ]
        assert both[0] == both[1]
        seen.append(both[0])
        entries = data(
            [await service.call("GET", f"/v1/accounts/{account_id(service)}/entries?limit=100")]
        )
        instants.append(entries[-1]["created_at"])
        assert (seen[-1][0], seen[-1][1]) == (
            entries[-1]["balance"]["posted"],
            entries[-1]["balance"]["pending"],
        )
    assert [(0, 1000, 0), (400, 600, 400), (500, 500, 500), (450, 500, 450), (450, 0, 450)] == seen
    # What happened within one millisecond cannot be told apart by the instant.
    past = {at: amounts(await balance(service, account_id(service), at=at)) for at in instants}
    assert dict(zip(instants, seen, strict=True)) == past


async def test_a_balance_of_the_past_knows_nothing_of_what_came_later(service: Service) -> None:
    created_at = (await service.pay()).document["created_at"]
    before = instant(datetime.fromisoformat(created_at) - timedelta(milliseconds=1))
    merchant = account_id(service)
    found = [await balance(service, merchant, at=at) for at in (before, created_at)]
    assert [(0, 0, 0), (1250, 0, 1250)] == [amounts(one) for one in found]
    expected = {
        "account_id": merchant,
        "object": "balance",
        "currency": "EUR",
        "posted": 0,
        "pending": 0,
        "available": 0,
        "at": before,
    }
    assert expected == found[0]


async def test_a_balance_of_the_future_is_that_of_now(service: Service) -> None:
    await service.pay()
    merchant = account_id(service)
    found = await balance(service, merchant, at="2999-01-01T00:00:00+13:00")
    now = await balance(service, merchant)
    assert "2998-12-31T11:00:00.000Z" == found["at"]
    assert amounts(now) == amounts(found)
    assert datetime.now(UTC) - datetime.fromisoformat(now["at"]) < timedelta(hours=1)


async def test_a_statement_is_read_page_by_page_with_running_balances(service: Service) -> None:
    payments = [(await service.pay()).document for _ in range(3)]
    seal(service)
    payments += [(await service.pay()).document for _ in range(2)]
    merchant = account_id(service)
    pages = await walk(service, f"/v1/accounts/{merchant}/entries", limit=2)
    entries = data(pages)
    assert [2, 2, 1] == [len(page.document["data"]) for page in pages]
    assert [one["id"] for one in payments] == [entry["payment_id"] for entry in entries]
    running = [entry["balance"] for entry in entries]
    assert [{"posted": 1250 * count, "pending": 0} for count in range(1, 6)] == running
    expected = {
        "id": f"{entries[0]['transfer_id']}_credit",
        "transfer_id": payments[0]["id"].replace("pay_", "trf_"),
        "payment_id": payments[0]["id"],
        "kind": "capture",
        "account_id": merchant,
        "direction": "credit",
        "layer": "posted",
        "amount": 1250,
        "currency": "EUR",
        "created_at": payments[0]["created_at"],
        "balance": {"posted": 1250, "pending": 0},
    }
    assert expected == entries[0]


async def test_reading_on_later_shows_the_newest_entries_again_and_misses_none(
    service: Service,
) -> None:
    path = f"/v1/accounts/{account_id(service)}/entries"
    first = (await service.pay()).document["id"]
    seal(service)
    second = (await service.pay()).document["id"]
    page = await service.call("GET", path)
    assert [first, second] == [entry["payment_id"] for entry in page.document["data"]]
    assert page.document["next_cursor"] is None
    third = (await service.pay()).document["id"]
    seal(service)
    resume = page.document["resume_cursor"]
    later = await service.call("GET", f"{path}?cursor={resume}")
    assert [second, third] == [entry["payment_id"] for entry in later.document["data"]]
    resume = later.document["resume_cursor"]
    assert [] == (await service.call("GET", f"{path}?cursor={resume}")).document["data"]


async def test_the_trial_balance_has_as_many_debits_as_credits(service: Service) -> None:
    empty = await service.call("GET", "/v1/trial-balance")
    assert [] == empty.document["currencies"]
    await service.pay()
    seal(service)
    await service.pay(body=PAYMENT | {"currency": "JPY"})
    await authorized(service)
    found = await service.call("GET", "/v1/trial-balance")
    expected = [
        {
            "currency": "EUR",
            "debits": 1250,
            "credits": 1250,
            "pending_debits": 1000,
            "pending_credits": 1000,
        },
        {
            "currency": "JPY",
            "debits": 1250,
            "credits": 1250,
            "pending_debits": 0,
            "pending_credits": 0,
        },
    ]
    assert ("trial_balance", expected) == (found.document["object"], found.document["currencies"])
    past = await service.call("GET", "/v1/trial-balance?at=2020-01-01T00:00:00Z")
    assert ([], "2020-01-01T00:00:00.000Z") == (past.document["currencies"], past.document["at"])


@pytest.mark.parametrize("suffix", ["", "/balance", "/entries"])
async def test_what_is_another_tenants_looks_like_what_does_not_exist(
    service: Service, suffix: str
) -> None:
    await service.pay()
    stranger = await service.for_new_tenant()
    ids = (account_id(service), encode(IdKind.ACCOUNT, 1), "acc_%00", encode(IdKind.PAYMENT, 1))
    answers = [await stranger.call("GET", f"/v1/accounts/{one}{suffix}") for one in ids]
    assert [(404, "not_found")] * 4 == [(answer.status, answer.code) for answer in answers]
    assert 1 == len({answer.document["detail"] for answer in answers})
    assert [] == (await stranger.call("GET", "/v1/accounts")).document["data"]
    assert [] == (await stranger.call("GET", "/v1/trial-balance")).document["currencies"]


async def test_a_wrong_parameter_is_refused_by_name(service: Service) -> None:
    await service.pay()
    merchant = f"/v1/accounts/{account_id(service)}"
    payment = encode(IdKind.PAYMENT, 1)
    cases = {
        "/v1/accounts?kind=bank": "#/kind",
        "/v1/accounts?currency=euro": "#/currency",
        f"/v1/accounts?cursor={cursors.encode(payment)}": "#/cursor",
        f"{merchant}/balance?at=yesterday": "#/at",
        f"{merchant}/balance?at=2026-01-01T00:00:00": "#/at",
        f"{merchant}/balance?at=9999-12-31T23:59:59Z": "#/at",
        f"{merchant}/balance?limit=1": "#/limit",
        f"{merchant}/entries?limit=101": "#/limit",
        f"{merchant}/entries?cursor=made-up": "#/cursor",
        f"{merchant}/entries?cursor={cursors.encode('-1')}": "#/cursor",
        f"{merchant}/entries?cursor={cursors.encode('01')}": "#/cursor",
        f"{merchant}/entries?cursor={cursors.encode('9' * 19)}": "#/cursor",
        f"{merchant}/entries?cursor={cursors.encode(f'1.{payment}')}": "#/cursor",
        f"{merchant}/entries?cursor={cursors.encode('1.')}": "#/cursor",
        "/v1/trial-balance?at=now": "#/at",
    }
    found = {}
    for path in cases:
        answer = await service.call("GET", path)
        assert (400, "invalid_parameter") == (answer.status, answer.code), path
        (found[path],) = (error["pointer"] for error in answer.document["errors"])
    assert cases == found


async def test_a_place_beyond_the_end_of_a_statement_shows_only_what_is_not_sealed(
    service: Service,
) -> None:
    await service.pay()
    seal(service)
    newest = (await service.pay()).document["id"]
    cursor = cursors.encode("9" * 18)
    path = f"/v1/accounts/{account_id(service)}/entries?cursor={cursor}"
    page = await service.call("GET", path)
    assert [newest] == [entry["payment_id"] for entry in page.document["data"]]
    assert 2500 == page.document["data"][0]["balance"]["posted"]


async def test_the_books_are_read_with_the_scope_for_them_alone(service: Service) -> None:
    await service.pay()
    merchant = f"/v1/accounts/{account_id(service)}"
    paths = (
        "/v1/accounts",
        merchant,
        f"{merchant}/balance",
        f"{merchant}/entries",
        "/v1/trial-balance",
    )
    found = []
    for scope in ("ledger:read", "payments:read"):
        headers = {"Authorization": f"Bearer {await service.new_key(scopes=[scope])}"}
        found.append([(await service.call("GET", path, headers=headers)).status for path in paths])
    assert [[200] * 5, [403] * 5] == found


async def test_real_answers_are_as_described(service: Service) -> None:
    await service.pay()
    await authorized(service)
    seal(service)
    await service.pay()
    merchant = account_id(service)
    reads = {
        "/v1/accounts": "/v1/accounts?limit=1",
        ACCOUNT: f"/v1/accounts/{merchant}",
        f"{ACCOUNT}/balance": f"/v1/accounts/{merchant}/balance",
        f"{ACCOUNT}/entries": f"/v1/accounts/{merchant}/entries?limit=1",
        "/v1/trial-balance": "/v1/trial-balance",
    }
    for template, path in reads.items():
        answer = await service.call("GET", path)
        assert 200 == answer.status
        check(answer, "GET", template)
    for path in (ACCOUNT, f"{ACCOUNT}/balance", f"{ACCOUNT}/entries"):
        missing = path.format(account_id=encode(IdKind.ACCOUNT, 1))
        check(await service.call("GET", missing), "GET", path)
