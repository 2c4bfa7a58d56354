"""The transfer routes, over HTTP, on the real service."""

import asyncio
import re
import uuid
from collections import Counter
from typing import Any

import pytest
import redis

from fluxpay.core.ids import IdKind, encode, is_id
from tests.web.service import Answer, Service

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def send(service: Service, path: str, body: object, key: str | None = None) -> Answer:
    headers = {"Idempotency-Key": key or uuid.uuid4().hex}
    return await service.call("POST", path, json=body, headers=headers)


async def opened(service: Service, kind: str, **more: object) -> str:
    """Open an account in euros; tells its id."""
    answer = await send(service, "/v1/accounts", {"kind": kind, "currency": "EUR"} | more)
    assert 201 == answer.status, answer.body
    account_id: str = answer.document["id"]
    return account_id


async def merchant_of(service: Service) -> str:
    """Make a payment of 1250; tells the merchant account that it credited."""
    payment_id = (await service.pay()).document["id"]
    listed = await service.call("GET", f"/v1/payments/{payment_id}/entries")
    found: list[str] = [
        entry["account_id"] for entry in listed.document["data"] if entry["direction"] == "credit"
    ]
    return found[0]


def moving(debit_id: object, credit_id: object, **more: object) -> dict[str, Any]:
    body = {"debit_account_id": debit_id, "credit_account_id": credit_id}
    return body | {"amount": 700, "currency": "EUR"} | more


async def test_a_transfer_is_made_and_read_back_the_same(service: Service) -> None:
    merchant_id, reserve_id = await merchant_of(service), await opened(service, "reserve")
    asked = moving(merchant_id, reserve_id, description="Für später")
    made = await send(service, "/v1/transfers", asked)
    transfer = made.document
    assert 201 == made.status
    assert f"/v1/transfers/{transfer['id']}" == made.headers["Location"]
    assert is_id(IdKind.TRANSFER, transfer["id"])
    assert INSTANT.fullmatch(transfer["created_at"])
    expected = asked | {
        "id": transfer["id"],
        "object": "transfer",
        "kind": "transfer",
        "payment_id": None,
        "layer": "posted",
        "reverses": None,
        "created_at": transfer["created_at"],
    }
    assert expected == transfer
    read = await service.call("GET", made.headers["Location"])
    assert (200, made.body) == (read.status, read.body)


async def test_the_transfers_of_a_payment_can_be_read_by_their_ids(service: Service) -> None:
    payment = (await service.pay(body={"amount": 5, "currency": "EUR"})).document
    path = f"/v1/payments/{payment['id']}"
    refunded = await send(service, f"{path}/refunds", {"amount": 2})
    assert 201 == refunded.status, refunded.body
    entries = (await service.call("GET", f"{path}/entries")).document["data"]
    ids = sorted({entry["id"].rpartition("_")[0] for entry in entries})
    found = [(await service.call("GET", f"/v1/transfers/{one}")).document for one in ids]
    capture, refund = found
    assert ("capture", 5, None) == (capture["kind"], capture["amount"], capture["reverses"])
    assert ("refund", 2, capture["id"]) == (refund["kind"], refund["amount"], refund["reverses"])
    assert {payment["id"]} == {one["payment_id"] for one in found}


async def test_what_is_another_tenants_looks_like_what_does_not_exist(service: Service) -> None:
    reserve_id, payout_id = [await opened(service, kind) for kind in ("reserve", "payout")]
    made = await send(service, "/v1/transfers", moving(reserve_id, payout_id))
    stranger = await service.for_new_tenant()
    ids = (made.document["id"], encode(IdKind.TRANSFER, 1), "trf_%00")
    read = [await stranger.call("GET", f"/v1/transfers/{one}") for one in ids]
    accounts = (reserve_id, encode(IdKind.ACCOUNT, 1), "acc_%00")
    ruled = [
        await send(stranger, f"/v1/accounts/{one}", {"no_overdraft": True}) for one in accounts
    ]
    own_id = await opened(stranger, "payout")
    moved = [
        await send(stranger, "/v1/transfers", moving(one, own_id))
        for one in (reserve_id, encode(IdKind.ACCOUNT, 1), "nonsense")
    ]
    for answers in (read, ruled):
        assert [(404, "not_found")] * 3 == [(answer.status, answer.code) for answer in answers]
        assert 1 == len({answer.document["detail"] for answer in answers})
    assert [(422, "validation_failed")] * 3 == [(answer.status, answer.code) for answer in moved]
    expected = [{"pointer": "#/debit_account_id", "detail": "Is no account."}]
    assert [expected] * 3 == [answer.document["errors"] for answer in moved]


async def test_every_change_replays_byte_for_byte_also_when_the_cache_is_lost(
    service: Service,
) -> None:
    reserve_id, payout_id = [await opened(service, kind) for kind in ("reserve", "payout")]
    requests: list[tuple[str, object]] = [
        ("/v1/transfers", moving(reserve_id, payout_id)),
        ("/v1/accounts", {"kind": "reserve", "currency": "EUR", "no_overdraft": True}),
        (f"/v1/accounts/{reserve_id}", {"no_overdraft": False}),
    ]
    for number, (path, body) in enumerate(requests):
        key = f"k-{number}"
        first, second = [await send(service, path, body, key) for _ in range(2)]
        with redis.Redis.from_url(service.settings.redis_url) as cache:
            cache.flushall()
        third = await send(service, path, body, key)
        assert first.status < 300, first.body
        assert "Idempotent-Replayed" not in first.headers
        for again in (second, third):
            assert (first.status, first.body) == (again.status, again.body)
            assert first.headers.get("Location") == again.headers.get("Location")
            assert "true" == again.headers["Idempotent-Replayed"]


async def test_a_key_of_a_payment_is_not_taken_for_a_transfer(service: Service) -> None:
    await service.pay("k")
    reserve_id, payout_id = [await opened(service, kind) for kind in ("reserve", "payout")]
    answer = await send(service, "/v1/transfers", moving(reserve_id, payout_id), "k")
    assert (422, "idempotency_key_reused") == (answer.status, answer.code)


async def test_an_account_with_the_rule_gives_what_it_has_and_then_says_what_is_left(
    service: Service,
) -> None:
    merchant_id, payout_id = await merchant_of(service), await opened(service, "payout")
    ruled = await send(service, f"/v1/accounts/{merchant_id}", {"no_overdraft": True})
    assert (200, True) == (ruled.status, ruled.document["no_overdraft"])
    made, refused = [
        await send(service, "/v1/transfers", moving(merchant_id, payout_id)) for _ in range(2)
    ]
    assert 201 == made.status
    assert (409, "insufficient_funds") == (refused.status, refused.code)
    assert (merchant_id, 550) == (refused.document["account_id"], refused.document["available"])


async def test_a_refusal_for_want_of_funds_is_not_kept(service: Service) -> None:
    reserve_id = await opened(service, "reserve", no_overdraft=True)
    payout_id = await opened(service, "payout")
    asked = moving(reserve_id, payout_id)
    before = await send(service, "/v1/transfers", asked, "k")
    await send(service, "/v1/transfers", moving(payout_id, reserve_id))
    after = await send(service, "/v1/transfers", asked, "k")
    assert (409, 201) == (before.status, after.status)


async def test_many_clients_take_out_no_more_than_there_is(service: Service) -> None:
    reserve_id = await opened(service, "reserve", no_overdraft=True)
    payout_id = await opened(service, "payout")
    filled = await send(service, "/v1/transfers", moving(payout_id, reserve_id, amount=1000))
    assert 201 == filled.status
    answers = await asyncio.gather(
        *(
            send(service, "/v1/transfers", moving(reserve_id, payout_id, amount=30))
            for _ in range(64)
        )
    )
    assert {201: 33, 409: 31} == Counter(answer.status for answer in answers)


async def test_many_clients_move_money_to_and_fro_at_once(service: Service) -> None:
    reserve_id, payout_id = [
        await opened(service, kind, no_overdraft=False) for kind in ("reserve", "payout")
    ]
    ways = [(reserve_id, payout_id), (payout_id, reserve_id)]
    answers = await asyncio.gather(
        *(send(service, "/v1/transfers", moving(*ways[n % 2])) for n in range(64))
    )
    assert {201: 64} == Counter(answer.status for answer in answers)


async def test_an_account_is_opened_once_for_each_kind_and_currency(service: Service) -> None:
    first, second, other = [
        await send(service, "/v1/accounts", {"kind": "reserve", "currency": currency})
        for currency in ("EUR", "EUR", "KWD")
    ]
    account = first.document
    expected = {
        "id": account["id"],
        "object": "account",
        "kind": "reserve",
        "currency": "EUR",
        "normal_side": "credit",
        "no_overdraft": False,
        "created_at": account["created_at"],
    }
    assert expected == account
    assert is_id(IdKind.ACCOUNT, account["id"])
    assert (201, first.body) == (second.status, second.body)
    assert f"/v1/accounts/{account['id']}" == first.headers["Location"]
    assert (201, "KWD") == (other.status, other.document["currency"])
    assert account["id"] != other.document["id"]


@pytest.mark.parametrize(
    ("path", "body", "pointers"),
    [
        pytest.param(
            "/v1/transfers",
            {},
            ["#/debit_account_id", "#/credit_account_id", "#/amount", "#/currency"],
            id="nothing",
        ),
        pytest.param(
            "/v1/transfers",
            moving("acc_1", "acc_2", amount=0, currency="XAU", description="x" * 1001, note=1),
            ["#/amount", "#/currency", "#/description", "#/note"],
            id="wrong values",
        ),
        pytest.param(
            "/v1/transfers", moving("acc_1", "acc_1"), ["#/credit_account_id"], id="one account"
        ),
        pytest.param(
            "/v1/accounts",
            {"kind": "merchant", "currency": "EUR", "no_overdraft": 1},
            ["#/kind", "#/no_overdraft"],
            id="an account that opens by itself",
        ),
        pytest.param("/v1/accounts/acc_1", {}, ["#/no_overdraft"], id="no rule"),
        pytest.param(
            "/v1/transfers",
            moving("a" * 101, 5),
            ["#/debit_account_id", "#/credit_account_id"],
            id="ids that cannot be any",
        ),
    ],
)
async def test_a_body_that_is_not_valid_is_told_field_by_field(
    service: Service, path: str, body: object, pointers: list[str]
) -> None:
    answer = await send(service, path, body)
    assert (422, "validation_failed") == (answer.status, answer.code)
    assert sorted(pointers) == sorted(error["pointer"] for error in answer.document["errors"])


async def test_a_rule_that_is_no_truth_value_is_told_in_words(service: Service) -> None:
    for wrong in (1, "true", None):
        answer = await send(service, "/v1/accounts/acc_1", {"no_overdraft": wrong})
        expected = [{"pointer": "#/no_overdraft", "detail": "Must be true or false."}]
        assert expected == answer.document["errors"]


async def test_the_currency_of_a_transfer_is_that_of_its_accounts(service: Service) -> None:
    reserve_id, payout_id = [await opened(service, kind) for kind in ("reserve", "payout")]
    answer = await send(service, "/v1/transfers", moving(reserve_id, payout_id, currency="JPY"))
    assert (422, "validation_failed") == (answer.status, answer.code)
    assert {"#/currency"} == {error["pointer"] for error in answer.document["errors"]}


async def test_moving_money_wants_another_scope_than_reading_about_it(service: Service) -> None:
    writer, reader = [
        await service.new_key(scopes=[scope]) for scope in ("payments:write", "ledger:read")
    ]
    reserve_id, payout_id = [await opened(service, kind) for kind in ("reserve", "payout")]
    statuses: dict[str, list[int]] = {}
    for name, api_key in (("writer", writer), ("reader", reader)):
        headers = {"Authorization": f"Bearer {api_key}"}
        answers = [
            await service.call(
                "POST", path, json=body, headers=headers | {"Idempotency-Key": uuid.uuid4().hex}
            )
            for path, body in (
                ("/v1/transfers", moving(reserve_id, payout_id)),
                ("/v1/accounts", {"kind": "payout", "currency": "EUR"}),
                (f"/v1/accounts/{payout_id}", {"no_overdraft": False}),
            )
        ]
        transfer_id = encode(IdKind.TRANSFER, 1)
        answers.append(await service.call("GET", f"/v1/transfers/{transfer_id}", headers=headers))
        statuses[name] = [answer.status for answer in answers]
    assert {"writer": [201, 201, 200, 403], "reader": [403, 403, 403, 404]} == statuses
