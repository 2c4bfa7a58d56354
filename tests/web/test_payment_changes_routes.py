"""Capture, void and refund, over HTTP, on the real service."""

from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from uuid_utils import uuid7

from fluxpay.core.ids import IdKind, encode, is_id
from fluxpay.stores.connection import SessionLimits
from fluxpay.stores.database import Database as Stores
from fluxpay.stores.payment_changes import PaymentChanges
from fluxpay.stores.pool import Pool
from tests.conftest import Database
from tests.web.changes import (
    AUTHORIZATION,
    CHANGES,
    asked,
    authorized,
    booked,
    change,
    likeness,
    sent,
    state,
)
from tests.web.service import Service

FULL = (("capture", None),)
IN_PARTS = (("capture", 300),)

# The way to each state, and what it takes.
STATES: dict[str, tuple[Sequence[tuple[str, int | None]], set[str]]] = {
    "authorized": ((), {"capture", "void"}),
    "partially_captured": (IN_PARTS, {"capture", "void", "refund"}),
    "captured": (FULL, {"refund"}),
    "captured after a void": ((*IN_PARTS, ("void", None)), {"refund"}),
    "partially_refunded": ((*FULL, ("refunds", 1)), {"refund"}),
    "partially_refunded and open": ((*IN_PARTS, ("refunds", 1)), {"capture", "void", "refund"}),
    "refunded": ((*FULL, ("refunds", None)), set()),
    "voided": ((("void", None),), set()),
}


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    """A session beside the service's own, for what its worker does."""
    pool = Stores(database.app_url, limits=SessionLimits()).pool(max_size=1)
    yield pool
    await pool.close()


async def test_an_authorization_waits_seven_days_for_its_capture(service: Service) -> None:
    made = await service.pay(body=AUTHORIZATION)
    payment = made.document
    assert (201, f"/v1/payments/{payment['id']}") == (made.status, made.headers["Location"])
    assert state(payment) == ("authorized", 0, 0)
    created_at, expires_at = map(
        datetime.fromisoformat, (payment["created_at"], payment["expires_at"])
    )
    assert timedelta(days=7) == expires_at - created_at
    assert [("pending", "platform>merchant", 1000)] == await booked(service, payment["id"])


async def test_a_payment_is_captured_and_refunded_in_parts(service: Service) -> None:
    payment_id = await authorized(service)
    first = await change(service, payment_id, "capture", amount=300)
    early = await change(service, payment_id, "refunds", amount=100, reason="Zu früh")
    rest = await change(service, payment_id, "capture")
    assert [200, 201, 200] == [answer.status for answer in (first, early, rest)]
    assert ("partially_captured", 300, 0) == state(first.document)
    assert first.document["expires_at"] is not None
    assert ("partially_refunded", 1000, 100) == state(rest.document)
    assert rest.document["expires_at"] is None
    last = await change(service, payment_id, "refunds")
    read = (await service.call("GET", f"/v1/payments/{payment_id}")).document
    assert ("refunded", 1000, 1000) == state(read)
    assert 900 == last.document["amount"]
    expected = [
        ("pending", "platform>merchant", 1000),
        ("posted", "platform>merchant", 300),
        ("pending", "merchant>platform", 300),
        ("posted", "merchant>platform", 100),
        ("posted", "platform>merchant", 700),
        ("pending", "merchant>platform", 700),
        ("posted", "merchant>platform", 200),
        ("posted", "merchant>platform", 700),
    ]
    assert expected == await booked(service, payment_id)


async def test_a_void_releases_all_and_a_later_one_the_rest(service: Service) -> None:
    whole, rest = [await authorized(service) for _ in range(2)]
    await change(service, rest, "capture", amount=300)
    answers = [await change(service, one, "void") for one in (whole, rest)]
    assert [200, 200] == [answer.status for answer in answers]
    assert [("voided", 0, 0), ("captured", 300, 0)] == [state(one.document) for one in answers]
    assert [None, None] == [answer.document["expires_at"] for answer in answers]
    assert [
        ("pending", "platform>merchant", 1000),
        ("pending", "merchant>platform", 1000),
    ] == await booked(service, whole)
    assert ("pending", "merchant>platform", 700) == (await booked(service, rest))[-1]


async def test_a_payment_that_was_taken_at_once_can_be_refunded(service: Service) -> None:
    payment = (await service.pay()).document
    made = await change(service, payment["id"], "refunds", reason="One was torn")
    refund = made.document
    assert (201, f"/v1/payments/{payment['id']}/refunds") == (
        made.status,
        made.headers["Location"],
    )
    assert is_id(IdKind.REFUND, refund["id"])
    expected = {
        "id": refund["id"],
        "object": "refund",
        "payment_id": payment["id"],
        "amount": payment["amount"],
        "currency": "EUR",
        "reason": "One was torn",
        "created_at": refund["created_at"],
    }
    assert expected == refund


async def test_the_refunds_of_a_payment_are_listed_oldest_first(service: Service) -> None:
    payment_id = (await service.pay()).document["id"]
    path = f"/v1/payments/{payment_id}/refunds"
    before = await service.call("GET", path)
    made = [(await change(service, payment_id, "refunds", amount=n)).document for n in (3, 1, 2)]
    after = await service.call("GET", path)
    assert (200, {"data": [], "next_cursor": None}) == (before.status, before.document)
    assert {"data": made, "next_cursor": None} == after.document


@pytest.mark.parametrize("way", STATES)
@pytest.mark.parametrize("action", CHANGES)
async def test_each_state_takes_what_the_table_says_and_names_it_otherwise(
    service: Service, way: str, action: str
) -> None:
    steps, allowed = STATES[way]
    payment_id = await authorized(service)
    for step, amount in steps:
        assert (await change(service, payment_id, step, amount=amount)).status in {200, 201}
    before = await service.call("GET", f"/v1/payments/{payment_id}")
    answer = await change(service, payment_id, action)
    if action.removesuffix("s") in allowed:
        assert answer.status in {200, 201}
        return
    assert (409, "invalid_transition") == (answer.status, answer.code)
    told = answer.document
    assert before.document["status"] == told["payment_status"] == way.split(maxsplit=1)[0]
    assert isinstance(told["allowed"], list)
    assert sorted(allowed) == sorted(told["allowed"])
    # A refusal changes nothing.
    assert before.body == (await service.call("GET", f"/v1/payments/{payment_id}")).body


@pytest.mark.parametrize("action", CHANGES)
async def test_an_expired_payment_takes_nothing(service: Service, pool: Pool, action: str) -> None:
    payment_id = await authorized(service)
    later = datetime.now(UTC) + timedelta(days=8)
    changes = PaymentChanges(pool)
    assert await changes.expire(service.tenant_id, payment_id, uuid=uuid7().int, now=later)
    answer = await change(service, payment_id, action)
    assert (409, "expired", []) == (
        answer.status,
        answer.document["payment_status"],
        answer.document["allowed"],
    )


async def test_what_is_due_is_no_longer_captured_though_nobody_has_expired_it_yet(
    service: Service, database: Database
) -> None:
    payment_id = await authorized(service)
    with closing(psycopg2.connect(database.owner_url)) as owner, owner:
        owner.cursor().execute("UPDATE payments SET expires_at = now() - interval '1 second'")
    refused = await change(service, payment_id, "capture")
    assert (409, ["void"]) == (refused.status, refused.document["allowed"])
    assert 200 == (await change(service, payment_id, "void")).status


async def test_more_than_is_left_is_refused_with_the_limit(service: Service) -> None:
    payment_id = await authorized(service)
    cases = [
        ("capture", 1001, 1000),
        ("capture", 400, None),
        ("capture", 601, 600),
        ("refunds", 401, 400),
        ("refunds", 150, None),
        ("refunds", 251, 250),
    ]
    for action, amount, limit in cases:
        answer = await change(service, payment_id, action, amount=amount)
        if limit is None:
            assert answer.status in {200, 201}
            continue
        assert (422, "amount_too_large", limit) == (
            answer.status,
            answer.code,
            answer.document["limit"],
        )
        assert ["#/amount"] == [error["pointer"] for error in answer.document["errors"]]
    read = (await service.call("GET", f"/v1/payments/{payment_id}")).document
    assert ("partially_refunded", 400, 150) == state(read)


async def test_a_body_may_be_left_out_and_means_an_empty_object(service: Service) -> None:
    chunked = [("Transfer-Encoding", "chunked")]
    form = [("Content-Type", "application/x-www-form-urlencoded")]
    json = [("Content-Type", "application/json")]
    ways: list[tuple[list[tuple[str, str]], bytes, bool]] = [
        ([], b"", True),
        ([], b"", False),
        (chunked, b"0\r\n\r\n", False),
        (form, b"", True),
        (json, b"", True),
        (json, b"{}", True),
    ]
    for action in CHANGES:
        payment_id = await authorized(service)
        if action == "refunds":
            await change(service, payment_id, "capture")
        path = f"/v1/payments/{payment_id}/{action}"
        answers = [
            await sent(service, path, headers=headers, body=body, length=length)
            for headers, body, length in ways
        ]
        # They share one key: had any another fingerprint, it would be refused.
        assert {answers[0].status} == {answer.status for answer in answers} <= {200, 201}
        assert 1 == len({answer.body for answer in answers})


async def test_a_body_that_was_sent_is_read_strictly(service: Service) -> None:
    payment_id = await authorized(service)
    json = [("Content-Type", "application/json")]
    cases = {
        (b"{}", ()): "unsupported_media_type",
        (b" ", tuple(json)): "malformed_json",
        (b"[]", tuple(json)): "validation_failed",
        (b'{"amount":0}', tuple(json)): "validation_failed",
        (b'{"amount":1.0}', tuple(json)): "validation_failed",
        (b'{"tip":1}', tuple(json)): "validation_failed",
    }
    for action in CHANGES:
        path = f"/v1/payments/{payment_id}/{action}"
        found = {
            (body, headers): (await sent(service, path, headers=list(headers), body=body)).code
            for body, headers in cases
        }
        assert cases == found
    long = await change(service, payment_id, "refunds", reason="x" * 1001)
    assert ["#/reason"] == [error["pointer"] for error in long.document["errors"]]


async def test_an_absent_body_is_still_refused_where_one_is_needed(service: Service) -> None:
    json = [("Content-Type", "application/json")]
    untyped = await sent(service, "/v1/payments", headers=[], body=b"")
    typed = await sent(service, "/v1/payments", headers=json, body=b"")
    # By its head alone: a body of another type is not read first.
    announced = [("Content-Length", "1000000000")]
    unread = await sent(service, "/v1/payments", headers=announced, body=b"", length=False)
    codes = [answer.code for answer in (untyped, typed, unread)]
    assert ["unsupported_media_type", "malformed_json", "unsupported_media_type"] == codes


@pytest.mark.parametrize("body", [None, {}, {"amount": 5}, {"amount": 0}])
@pytest.mark.parametrize("action", CHANGES)
async def test_another_tenants_payment_looks_like_none_at_all(
    service: Service, action: str, body: dict[str, int] | None
) -> None:
    payment_id = await authorized(service)
    await change(service, payment_id, "capture", amount=500)
    before = await service.call("GET", f"/v1/payments/{payment_id}")
    stranger = await service.for_new_tenant()
    ids = (payment_id, encode(IdKind.PAYMENT, 1), "pay_%00", "none", encode(IdKind.REFUND, 1))
    seen = [await asked(stranger, f"/v1/payments/{one}/{action}", body) for one in ids]
    assert 1 == len({likeness(answer) for answer in seen})
    assert {404 if body in (None, {}) or (action != "void" and body == {"amount": 5}) else 422} == {
        answer.status for answer in seen
    }
    assert before.body == (await service.call("GET", f"/v1/payments/{payment_id}")).body


async def test_another_tenants_refunds_look_like_none_at_all(service: Service) -> None:
    payment_id = (await service.pay()).document["id"]
    await change(service, payment_id, "refunds")
    stranger = await service.for_new_tenant()
    ids = (payment_id, encode(IdKind.PAYMENT, 1), "pay_%00", "none")
    seen = [await stranger.call("GET", f"/v1/payments/{one}/refunds") for one in ids]
    assert {404} == {answer.status for answer in seen}
    assert 1 == len({likeness(answer) for answer in seen})


async def test_each_route_asks_for_its_own_scope(service: Service) -> None:
    payment_id = await authorized(service)
    path = f"/v1/payments/{payment_id}"
    needed = {
        ("POST", f"{path}/capture"): "payments:write",
        ("POST", f"{path}/void"): "payments:write",
        ("POST", f"{path}/refunds"): "refunds:write",
        ("GET", f"{path}/refunds"): "payments:read",
    }
    scopes = ("payments:read", "payments:write", "refunds:write", "ledger:read")
    keys = {scope: await service.new_key(scopes=[scope]) for scope in scopes}
    for (method, route), scope in needed.items():
        passed = [
            one
            for one, key in keys.items()
            if (await asked(service, route, {"tip": 1}, method=method, api_key=key)).status != 403
        ]
        assert [scope] == passed, route
