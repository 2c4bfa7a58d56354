"""The batch route, over HTTP, on the real service."""

import asyncio
import uuid
from contextlib import closing
from typing import Any

import psycopg2
import pytest
import redis

from fluxpay.core.problems import PROBLEMS, Code
from fluxpay.stores.problems import StoreUnavailable
from fluxpay.stores.writer import PaymentWriter
from tests.conftest import Database
from tests.web.conftest import Launch
from tests.web.service import PAYMENT, Answer, RawConnection, Service, request_bytes
from tests.web.test_metrics import grown, samples
from tests.web.test_openapi import check

PATH = "/v1/payments/batch"
MODES = pytest.mark.parametrize("mode", ["atomic", "independent"])


def item(key: str, **changes: object) -> dict[str, object]:
    return PAYMENT | {"idempotency_key": key} | changes


async def batch(service: Service, mode: str, *items: object, key: str | None = None) -> Answer:
    return await service.call(
        "POST",
        PATH,
        json={"mode": mode, "payments": items},
        headers={"Idempotency-Key": key or uuid.uuid4().hex},
    )


async def results(service: Service, mode: str, *items: object) -> list[dict[str, Any]]:
    answer = await batch(service, mode, *items)
    assert 200 == answer.status, answer.body
    found: list[dict[str, Any]] = answer.document["results"]
    return found


def codes(found: list[dict[str, Any]]) -> list[str | None]:
    """The code of each result, None where it is a payment."""
    for one in found:
        assert {"status", "payment" if one["status"] == 201 else "problem"} == set(one)
    return [one["problem"]["code"] if "problem" in one else None for one in found]


async def forget(service: Service) -> None:
    # Whatever an answer left to be remembered stands in line before this question to Redis.
    assert "validation_failed" == (await service.pay(body={})).code
    with redis.Redis.from_url(service.settings.redis_url) as cache:
        cache.flushall()


def payments_made(database: Database) -> int:
    with closing(psycopg2.connect(database.owner_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM payments")
        made: int = cursor.fetchall()[0][0]
        return made


@MODES
async def test_500_payments_are_made_and_told_in_their_order(
    service: Service, database: Database, mode: str
) -> None:
    items = [item(f"k-{n}", amount=n + 1, reference=f"o-{n}") for n in range(500)]
    found = await results(service, mode, *items)
    assert [201] * 500 == [one["status"] for one in found]
    assert [(n + 1, f"o-{n}") for n in range(500)] == [
        (one["payment"]["amount"], one["payment"]["reference"]) for one in found
    ]
    assert 500 == payments_made(database)


@MODES
async def test_an_item_is_the_payment_of_a_single_request_and_the_other_way_round(
    service: Service, mode: str
) -> None:
    body = PAYMENT | {"capture": "manual", "description": "Zwei", "metadata": {"a": "b"}}
    single = await service.pay("first-single", body)
    for _ in range(2):
        found = await results(
            service, mode, item("first-single", **body), item("first-batch", **body)
        )
        assert [single.document, 201] == [found[0]["payment"], found[1]["status"]]
        again = await service.pay("first-batch", body)
        assert (201, found[1]["payment"]) == (again.status, again.document)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.headers["Location"] == f"/v1/payments/{again.document['id']}"
        await forget(service)


@MODES
async def test_the_same_batch_again_gets_the_same_bytes_even_when_the_cache_is_lost(
    service: Service, database: Database, mode: str
) -> None:
    items = [item("a"), item("b", metadata={"x": "é"})]
    first, second = [await batch(service, mode, *items, key="once") for _ in range(2)]
    await forget(service)
    third = await batch(service, mode, *items, key="once")
    assert [(200, first.body)] * 2 == [(one.status, one.body) for one in (second, third)]
    assert second.headers["Idempotent-Replayed"] == "true"
    assert 2 == payments_made(database)


@MODES
async def test_the_key_of_a_batch_stands_for_that_batch_even_when_the_cache_is_lost(
    service: Service, database: Database, mode: str
) -> None:
    refused = item("b", currency="CHF")
    first = await batch(service, mode, item("a"), refused, key="once")
    await forget(service)
    again = await batch(service, mode, item("a"), refused, key="once")
    assert (200, first.body, "true") == (
        again.status,
        again.body,
        again.headers["Idempotent-Replayed"],
    )
    await forget(service)
    other = await batch(service, mode, item("c"), key="once")
    assert (422, "idempotency_key_reused") == (other.status, other.code)
    single = await service.pay(key="once")
    assert (422, "idempotency_key_reused") == (single.status, single.code)
    assert {"atomic": 0, "independent": 1}[mode] == payments_made(database)


async def test_each_item_of_an_independent_batch_stands_for_itself(service: Service) -> None:
    limits = [{"currency": "EUR", "max_amount": 2000}]
    limited = await service.for_new_tenant(payment_limits=limits)
    await limited.pay("used")
    found = await results(
        limited,
        "independent",
        item("a"),
        item("b", amount=2001),
        item("c", currency="KWD"),
        item("used", amount=1),
        item("d"),
    )
    refused = ["fraud_rejected", "currency_not_enabled", "idempotency_key_reused"]
    assert [None, *refused, None] == codes(found)
    assert [201, 422, 422, 422, 201] == [one["status"] for one in found]
    assert "amount_threshold" == found[1]["problem"]["rule"]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (item("x", amount=2001), "fraud_rejected"),
        (item("x", currency="KWD"), "currency_not_enabled"),
        (item("used", amount=1), "idempotency_key_reused"),
        (item("purged"), "idempotency_key_expired"),
    ],
)
async def test_one_refused_item_of_an_atomic_batch_leaves_no_payment(
    service: Service, database: Database, fault: dict[str, object], code: str
) -> None:
    limits = [{"currency": "EUR", "max_amount": 2000}]
    limited = await service.for_new_tenant(payment_limits=limits)
    replayed = await limited.pay("replayed")
    for key in ("used", "purged"):
        await limited.pay(key)
    with closing(psycopg2.connect(database.owner_url)) as connection, connection:
        purge = "DELETE FROM idempotency_records WHERE idempotency_key = 'purged'"
        connection.cursor().execute(purge)
    # What the cache knows must not be what saves us.
    await forget(limited)
    found = await results(limited, "atomic", item("a"), item("replayed"), fault, item("b"))
    assert ["batch_aborted", None, code, "batch_aborted"] == codes(found)
    assert replayed.document == found[1]["payment"]
    assert [2, 2] == [found[at]["problem"]["cause_index"] for at in (0, 3)]
    assert PROBLEMS[Code.BATCH_ABORTED].status == found[0]["status"]
    assert 3 == payments_made(database)
    # The keys of the aborted were not used up.
    assert [None, None] == codes(await results(limited, "atomic", item("a"), item("b")))


async def test_a_rejection_is_remembered_under_the_item_s_key(service: Service) -> None:
    limits = [{"currency": "EUR", "max_amount": 2000}]
    limited = await service.for_new_tenant(payment_limits=limits)
    large = PAYMENT | {"amount": 2001}
    (found,) = await results(limited, "atomic", item("k", **large))
    single = await limited.pay("k", large)
    assert (422, found["problem"]) == (single.status, single.document)
    assert single.headers["Idempotent-Replayed"] == "true"
    assert found == (await results(limited, "independent", item("k", **large)))[0]


@MODES
async def test_velocity_counts_every_item(service: Service, mode: str) -> None:
    limits = [{"currency": "EUR", "max_amount": 2000, "velocity": {"count": 3, "window_s": 3600}}]
    limited = await service.for_new_tenant(payment_limits=limits)
    found = await results(limited, mode, *[item(f"k-{n}") for n in range(5)])
    others = "batch_aborted" if mode == "atomic" else "made"
    told = sorted(code or "made" for code in codes(found))
    assert sorted([others] * 3 + ["fraud_rejected"] * 2) == told
    assert "fraud_rejected" == (await limited.pay()).code


@MODES
async def test_twins_of_a_batch_at_once_make_its_payments_once(
    service: Service, database: Database, mode: str
) -> None:
    items = [item(f"k-{n}") for n in range(20)]
    orders = [items, items[::-1], items[10:] + items[:10], items]
    answers = await asyncio.gather(*(results(service, mode, *order) for order in orders))
    ids = [{one["payment"]["id"] for one in found} for found in answers]
    assert [ids[0]] * 4 == ids
    assert 20 == payments_made(database)


@pytest.mark.parametrize(
    ("document", "pointers"),
    [
        ({"payments": [item("a")]}, ["#/mode"]),
        ({"mode": "some", "payments": [item("a")]}, ["#/mode"]),
        ({"mode": "atomic", "payments": []}, ["#/payments"]),
        ({"mode": "atomic", "payments": [item(f"k-{n}") for n in range(501)]}, ["#/payments"]),
        (
            {"mode": "atomic", "payments": [item("a", amount=0), item("b", tip=1), PAYMENT]},
            ["#/payments/0/amount", "#/payments/1/tip", "#/payments/2/idempotency_key"],
        ),
        *[
            ({"mode": "atomic", "payments": [item(key)]}, ["#/payments/0/idempotency_key"])
            for key in ("", "a b", "a\n", "é", "x" * 256)
        ],
        (
            {"mode": "independent", "payments": [item("a"), item("b"), item("a"), item("a")]},
            ["#/payments/2/idempotency_key", "#/payments/3/idempotency_key"],
        ),
        (
            {"mode": "independent", "payments": [item("a"), item("of-the-batch")]},
            ["#/payments/1/idempotency_key"],
        ),
    ],
)
async def test_a_batch_that_is_not_valid_is_refused_as_a_whole(
    service: Service, database: Database, document: object, pointers: list[str]
) -> None:
    headers = {"Idempotency-Key": "of-the-batch"}
    answer = await service.call("POST", PATH, json=document, headers=headers)
    assert (422, "validation_failed") == (answer.status, answer.code)
    assert pointers == [error["pointer"] for error in answer.document["errors"]]
    assert 0 == payments_made(database)


async def test_a_key_may_hold_any_visible_character(service: Service) -> None:
    key = '"quoted\\' + "x" * 247
    assert [None] == codes(await results(service, "atomic", item(key)))
    quoted = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert "true" == (await service.pay(quoted)).headers["Idempotent-Replayed"]


async def test_a_batch_may_be_larger_than_a_payment_and_has_a_limit_of_its_own(
    service: Service,
) -> None:
    large = [item(f"k-{n}", description="x" * 1000) for n in range(500)]
    assert [None] * 500 == codes(await results(service, "independent", *large))
    padded = b'{"mode":"atomic","payments":[]}'.ljust(1_048_577)
    headers = {
        "Authorization": f"Bearer {service.api_key}",
        "Idempotency-Key": "k",
        "Content-Type": "application/json",
    }
    for body, code in ((padded[:-1], "validation_failed"), (padded, "body_too_large")):
        async with RawConnection.to(service.api_url) as connection:
            await connection.send(request_bytes(path=PATH, headers=headers, body=body))
            assert code == (await connection.answer()).code
    single = await service.pay(body=PAYMENT | {"metadata": {"x": "x" * 70_000}})
    assert "body_too_large" == single.code


async def test_a_batch_needs_a_key_and_the_scope_of_a_payment(service: Service) -> None:
    body = {"mode": "atomic", "payments": [item("a")]}
    without = await service.call("POST", PATH, json=body)
    assert (400, "idempotency_key_missing") == (without.status, without.code)
    reader = await service.new_key(scopes=["payments:read"])
    headers = {"Idempotency-Key": "k", "Authorization": f"Bearer {reader}"}
    refused = await service.call("POST", PATH, json=body, headers=headers)
    assert (403, "scope_missing") == (refused.status, refused.code)


async def test_another_tenant_s_keys_are_no_obstacle(service: Service) -> None:
    await service.pay("a")
    stranger = await service.for_new_tenant()
    assert [None] == codes(await results(stranger, "atomic", item("a", amount=1)))


async def test_an_item_that_the_world_fails_fails_the_request_and_a_retry_finishes_it(
    launch: Launch, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await launch()
    post, failing = PaymentWriter.post, {"b"}

    async def posting(writer: PaymentWriter, one: Any) -> object:
        if one.claim.key in failing:
            raise StoreUnavailable("gone")
        return await post(writer, one)

    monkeypatch.setattr(PaymentWriter, "post", posting)
    items = [item(key) for key in "abc"]
    before = await samples(service)
    failed = await batch(service, "independent", *items, key="once")
    assert (503, "service_unavailable") == (failed.status, failed.code)
    assert 2 == payments_made(database)
    labels = {"outcome": "failed", "currency": "EUR"}
    assert 3 == grown(before, await samples(service), "fluxpay_payments_total", labels)
    failing.clear()
    answer = await batch(service, "independent", *items, key="once")
    assert [None] * 3 == codes(answer.document["results"])
    assert 3 == payments_made(database)


async def test_answers_are_as_described_and_every_item_is_counted(service: Service) -> None:
    limits = [{"currency": "EUR", "max_amount": 2000}]
    limited = await service.for_new_tenant(payment_limits=limits)
    await limited.pay("old")
    before = await samples(service)
    answer = await batch(
        limited,
        "independent",
        item("a"),
        item("old"),
        item("b", amount=2001),
        item("c", amount=5),
        item("m", capture="manual"),
    )
    check(answer, "POST", PATH)
    refused = await batch(limited, "atomic", item("d"), item("e", currency="KWD"))
    check(refused, "POST", PATH)
    after = await samples(service)

    def counted(outcome: str, currency: str = "EUR") -> float:
        labels = {"outcome": outcome, "currency": currency}
        return grown(before, after, "fluxpay_payments_total", labels)

    outcomes = ("captured", "authorized", "replayed", "fraud_rejected", "refused")
    assert [2, 1, 1, 1, 1] == [counted(outcome) for outcome in outcomes]
    assert 1 == counted("refused", "KWD")
    rule = {"rule": "amount_threshold"}
    assert 1 == grown(before, after, "fluxpay_fraud_rejections_total", rule)
