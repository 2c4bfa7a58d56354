"""The payment routes, over HTTP, on the real service."""

import base64
import re
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl, urlsplit

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxpay.core.ids import IdKind, encode, is_id
from fluxpay.web import cursors
from tests.web.service import PAYMENT, Answer, RawConnection, Service, request_bytes

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def test_a_payment_is_made_and_read_back_the_same(service: Service) -> None:
    asked = PAYMENT | {"description": "Zwei Plätze", "reference": "o-1", "metadata": {"a": "b"}}
    made = await service.pay(body=asked)
    payment = made.document
    assert made.status == 201
    assert made.headers["Location"] == f"/v1/payments/{payment['id']}"
    assert is_id(IdKind.PAYMENT, payment["id"])
    assert INSTANT.fullmatch(payment["created_at"])
    expected = asked | {
        "id": payment["id"],
        "object": "payment",
        "status": "captured",
        "amount_captured": 1250,
        "amount_refunded": 0,
        "capture": "automatic",
        "created_at": payment["created_at"],
        "expires_at": None,
    }
    assert expected == payment
    read = await service.call("GET", made.headers["Location"])
    assert (200, made.body) == (read.status, read.body)


async def test_the_same_request_again_gets_the_same_bytes_marked_as_replayed(
    service: Service,
) -> None:
    first, second = [await service.pay("once") for _ in range(2)]
    assert (first.status, first.body) == (second.status, second.body)
    assert first.headers["Location"] == second.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"


async def test_a_replay_survives_the_loss_of_the_cache(service: Service) -> None:
    first = await service.pay("once")
    with redis.Redis.from_url(service.settings.redis_url) as cache:
        cache.flushall()
    second = await service.pay("once")
    assert (201, first.body) == (second.status, second.body)
    assert first.headers["Location"] == second.headers["Location"]
    assert second.headers["Idempotent-Replayed"] == "true"


async def test_the_entries_of_a_payment_are_a_debit_and_a_credit_of_its_amount(
    service: Service,
) -> None:
    payment = (await service.pay()).document
    listed = (await service.call("GET", f"/v1/payments/{payment['id']}/entries")).document
    sides = sorted((entry["direction"], entry["amount"]) for entry in listed["data"])
    assert [("credit", 1250), ("debit", 1250)] == sides
    assert len({entry["account_id"] for entry in listed["data"]}) == 2
    assert listed["next_cursor"] is None
    for entry in listed["data"]:
        known = {"id", "account_id", "direction", "amount", "currency", "created_at", "layer"}
        assert known == set(entry)
        assert (entry["currency"], entry["created_at"]) == ("EUR", payment["created_at"])
        assert "posted" == entry["layer"]


@pytest.mark.parametrize("suffix", ["", "/entries"])
async def test_what_is_another_tenants_looks_like_what_does_not_exist(
    service: Service, suffix: str
) -> None:
    payment_id = (await service.pay()).document["id"]
    stranger = await service.for_new_tenant()
    ids = (payment_id, encode(IdKind.PAYMENT, 1), "pay_%00")
    answers = [await stranger.call("GET", f"/v1/payments/{one}{suffix}") for one in ids]
    listed = await stranger.call("GET", "/v1/payments")
    assert [(404, "not_found")] * 3 == [(answer.status, answer.code) for answer in answers]
    assert len({answer.document["detail"] for answer in answers}) == 1
    assert listed.document["data"] == []


async def test_a_list_is_walked_page_by_page_newest_first(service: Service) -> None:
    made = [(await service.pay()).document["id"] for _ in range(5)]
    pages = [answer async for answer in walk(service, "/v1/payments?limit=2")]
    ids = [[payment["id"] for payment in page.document["data"]] for page in pages]
    newest_first = made[::-1]
    assert [newest_first[:2], newest_first[2:4], newest_first[4:]] == ids
    assert pages[-1].document["next_cursor"] is None
    assert "Link" not in pages[-1].headers


async def test_a_page_that_is_just_full_is_the_last_one(service: Service) -> None:
    for _ in range(2):
        await service.pay()
    page = await service.call("GET", "/v1/payments?limit=2")
    assert (2, None) == (len(page.document["data"]), page.document["next_cursor"])


async def test_the_link_to_the_next_page_keeps_the_filters(service: Service) -> None:
    for _ in range(2):
        await service.pay(body=PAYMENT | {"reference": "a&b> c"})
    page = await service.call("GET", "/v1/payments?reference=a%26b%3E%20c&limit=1")
    target = link_target(page)
    expected = {"reference": "a&b> c", "limit": "1", "cursor": page.document["next_cursor"]}
    assert urlsplit(target).path == "/v1/payments"
    assert expected == dict(parse_qsl(urlsplit(target).query))
    assert len((await service.call("GET", target)).document["data"]) == 1


async def test_the_filters_narrow_a_list(service: Service) -> None:
    euro = (await service.pay(body=PAYMENT | {"reference": "o-1"})).document
    yen = (await service.pay(body={"amount": 7, "currency": "JPY"})).document
    instant = euro["created_at"]
    cases = {
        "currency=JPY": [yen],
        "reference=o-1": [euro],
        "status=captured": [yen, euro],
        "status=refunded": [],
        f"created_gte={instant}": [yen, euro],
        f"created_lt={instant}": [],
        "created_gte=2999-01-01T00:00:00%2B01:00": [],
        "currency=EUR&reference=o-2": [],
    }
    found = {
        query: (await service.call("GET", f"/v1/payments?{query}")).document["data"]
        for query in cases
    }
    assert cases == found


async def test_a_zone_in_a_filter_is_understood(service: Service) -> None:
    created_at = (await service.pay()).document["created_at"]
    # The same instant, read on a clock two hours ahead.
    moment = datetime.fromisoformat(created_at).astimezone(timezone(timedelta(hours=2)))
    text = moment.isoformat(timespec="milliseconds").replace("+", "%2B")
    exact = await service.call("GET", f"/v1/payments?created_gte={text}")
    before = await service.call("GET", f"/v1/payments?created_lt={text}")
    assert (1, 0) == (len(exact.document["data"]), len(before.document["data"]))


@pytest.mark.parametrize("zone", ["%2B23:59", "-23:59", "%2B16:00"])
async def test_every_zone_of_rfc_3339_is_understood(service: Service, zone: str) -> None:
    await service.pay()
    at = f"2026-01-01T00:00:00{zone}"
    since = await service.call("GET", f"/v1/payments?created_gte={at}&created_lt=2999{at[4:]}")
    assert 1 == len(since.document["data"])
    account = (await service.call("GET", "/v1/accounts")).document["data"][0]["id"]
    for path in (f"/v1/accounts/{account}/balance", "/v1/trial-balance"):
        asked = await service.call("GET", f"{path}?at={at}")
        expected = datetime.fromisoformat(at.replace("%2B", "+"))
        assert expected == datetime.fromisoformat(asked.document["at"])


async def test_a_wrong_parameter_is_refused_by_name(service: Service) -> None:
    cases = {
        "limit=0": "#/limit",
        "limit=101": "#/limit",
        "limit=1&limit=1": "#/limit",
        "status=paid": "#/status",
        "currency=euro": "#/currency",
        "created_gte=2026-01-31": "#/created_gte",
        "created_lt=0001-01-01T00:00:00%2B14:00": "#/created_lt",
        "reference=%00": "#/reference",
        "page=2": "#/page",
        "cursor=made-up": "#/cursor",
        "cursor=%C3%BC": "#/cursor",
        f"cursor={encode(IdKind.PAYMENT, 1)}": "#/cursor",
        f"cursor={cursors.encode(encode(IdKind.TENANT, 1))}": "#/cursor",
    }
    found = {}
    for query in cases:
        answer = await service.call("GET", f"/v1/payments?{query}")
        assert (400, "invalid_parameter") == (answer.status, answer.code), query
        (found[query],) = pointers(answer)
    assert cases == found


async def test_text_that_is_no_utf_8_finds_nothing_and_breaks_nothing(service: Service) -> None:
    headers = {"Authorization": f"Bearer {service.api_key}"}
    # The client library would repair these.
    async with RawConnection.to(service.api_url) as connection:
        for text in ("%FF", "%ED%A0%80", "%F4%90%80%80"):
            path = f"/v1/payments?reference={text}"
            await connection.send(request_bytes("GET", path, headers=headers))
            answer = await connection.answer()
            assert (200, []) == (answer.status, answer.document["data"])


async def test_every_wrong_field_of_a_payment_is_told_at_once(service: Service) -> None:
    answer = await service.pay(body={"amount": "12", "currency": "EURO", "reference": "", "tip": 1})
    assert (422, "validation_failed") == (answer.status, answer.code)
    expected = ["#/amount", "#/currency", "#/reference", "#/tip"]
    assert expected == pointers(answer)


async def test_a_currency_that_the_tenant_does_not_take_is_refused(service: Service) -> None:
    answer = await service.pay(body={"amount": 1, "currency": "UYW"})
    assert (422, "currency_not_enabled") == (answer.status, answer.code)
    assert ["#/currency"] == pointers(answer)


async def test_a_body_that_is_no_object_is_refused(service: Service) -> None:
    bodies: tuple[object, ...] = ([], "payment", 1, True)
    for body in bodies:
        answer = await service.pay(body=body)
        assert (422, "validation_failed") == (answer.status, answer.code)
        assert [{"pointer": "#", "detail": "Must be an object."}] == answer.document["errors"]


async def test_the_largest_amount_is_booked_exactly(service: Service) -> None:
    payment = (await service.pay(body={"amount": 2**53 - 1, "currency": "JPY"})).document
    entries = (await service.call("GET", f"/v1/payments/{payment['id']}/entries")).document["data"]
    assert [2**53 - 1] * 3 == [payment["amount"], *(entry["amount"] for entry in entries)]


def test_a_cursor_has_one_spelling_only() -> None:
    last_id = encode(IdKind.PAYMENT, 1)
    cursor = cursors.encode(last_id)
    other = base64.urlsafe_b64encode(last_id.encode()).decode()
    assert last_id == cursors.decode(cursor, IdKind.PAYMENT)
    for text in (other + "=", f"{cursor}=", f" {cursor}", cursor + "A", cursor[:-1]):
        assert cursors.decode(text, IdKind.PAYMENT) is None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["EUR", "JPY", "automatic"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("amount", "currency", "capture", "description", "reference", "metadata", "extra")
BODIES = JSON.filter(lambda body: body is not None) | st.builds(
    lambda changes: PAYMENT | changes, st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3)
)


async def test_no_body_whatever_makes_the_service_fail(service: Service) -> None:
    statuses = {(await service.pay(body=body)).status for body in drawn(BODIES, count=150)}
    assert statuses <= {201, 400, 422}
    # The strategy is of no use unless it reaches both sides.
    assert {201, 422} <= statuses


def drawn(strategy: st.SearchStrategy[object], *, count: int) -> Iterator[object]:
    """Examples of a strategy, drawn at once: hypothesis itself does not run inside a loop."""
    found: list[object] = []

    @settings(max_examples=count, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def draw(example: object) -> None:
        found.append(example)

    draw()
    return iter(found)


async def walk(service: Service, path: str) -> AsyncIterator[Answer]:
    """Every page, by the links."""
    while True:
        page = await service.call("GET", path)
        yield page
        if "Link" not in page.headers:
            return
        path = link_target(page)


def pointers(answer: Answer) -> list[str]:
    """What a refusal names as wrong."""
    return [error["pointer"] for error in answer.document["errors"]]


def link_target(page: Answer) -> str:
    """Where the link to the next page leads."""
    matched = re.fullmatch(r'<([^>]+)>; rel="next"', page.headers["Link"])
    assert matched is not None
    return matched[1]
