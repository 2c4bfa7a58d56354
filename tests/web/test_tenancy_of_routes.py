"""What is another tenant's is told apart from what is nobody's by no answer of any route.

The cases are taken from the table of routes: a new route that names an object, in its path, its
query or anywhere in its body, fails here until it is told what such an object is.
"""

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import pytest
from uuid_utils import uuid7

from fluxpay.core.ids import IdKind, encode
from fluxpay.web.route import Route
from fluxpay.web.routes import API_ROUTES
from tests.web.service import Answer, Service

KINDS: Final = {
    "payment_id": IdKind.PAYMENT,
    "transfer_id": IdKind.TRANSFER,
    "account_id": IdKind.ACCOUNT,
    "debit_account_id": IdKind.ACCOUNT,
    "credit_account_id": IdKind.ACCOUNT,
}
# What each mutating route takes, besides ids, so that it succeeds for whom the object belongs to.
BODIES: Final[dict[tuple[str, str], dict[str, object]]] = {
    ("POST", "/v1/payments/{payment_id}/capture"): {"amount": 1},
    ("POST", "/v1/payments/{payment_id}/void"): {},
    ("POST", "/v1/payments/{payment_id}/refunds"): {"amount": 1},
    ("POST", "/v1/accounts/{account_id}"): {"no_overdraft": True},
    ("POST", "/v1/transfers"): {"amount": 1, "currency": "EUR"},
}
# These tell when and for whom an answer was made, and nothing of what was asked for.
OWN_TO_A_REQUEST: Final = {"x-request-id", "traceparent", "date", "ratelimit", "content-length"}


@dataclass(frozen=True, slots=True)
class Case:
    """A route, and the name of one id that it takes."""

    route: Route
    name: str

    @property
    def is_in_path(self) -> bool:
        return f"{{{self.name}}}" in self.route.path

    def __str__(self) -> str:
        return f"{self.route.method} {self.route.path} {self.name}"


def names_of_ids(shape: object) -> Iterator[str]:
    """The members that are ids, at any depth of a JSON schema."""
    if isinstance(shape, dict):
        members = shape.get("properties")
        if isinstance(members, dict):
            yield from (name for name in members if name.endswith(("_id", "_ids")))
        for part in shape.values():
            yield from names_of_ids(part)
    elif isinstance(shape, list):
        for part in shape:
            yield from names_of_ids(part)


def cases() -> Iterator[Case]:
    for route in API_ROUTES:
        if route.scope is None:
            continue
        names = re.findall(r"{(\w+)}", route.path)
        for shape in (route.body, route.query):
            if shape is not None:
                names += names_of_ids(msgspec.json.schema(shape))
        yield from (Case(route, name) for name in names)


CASES: Final = tuple(cases())
LISTS: Final = tuple(
    route
    for route in API_ROUTES
    if route.scope is not None and route.method == "GET" and "{" not in route.path
)


async def ids_of(tenant: Service) -> dict[str, str]:
    """One of each object; the payment is one to which all can be done that can be done at all."""
    payment = await made(tenant, "/v1/payments", amount=1000, currency="EUR", capture="manual")
    await made(tenant, f"/v1/payments/{payment['id']}/capture", amount=500)
    await made(tenant, f"/v1/payments/{payment['id']}/refunds", amount=100)
    reserve = await made(tenant, "/v1/accounts", kind="reserve", currency="EUR")
    listed = (await tenant.call("GET", "/v1/accounts?kind=merchant")).document["data"]
    sides = {"debit_account_id": listed[0]["id"], "credit_account_id": reserve["id"]}
    transfer = await made(tenant, "/v1/transfers", amount=10, currency="EUR", **sides)
    return {
        "payment_id": payment["id"],
        "account_id": reserve["id"],
        "transfer_id": transfer["id"],
        **sides,
    }


async def made(tenant: Service, path: str, **body: object) -> Any:
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    answer = await tenant.call("POST", path, json=body, headers=headers)
    assert answer.status in {200, 201}, answer.body
    return answer.document


async def ask(tenant: Service, route: Route, ids: dict[str, str]) -> Answer:
    """Send the request that the route is for, about these objects."""
    path = route.path.format(**ids)
    if route.body is None:
        return await tenant.call(route.method, path)
    body = dict(BODIES[route.method, route.path])
    body |= {name: ids[name] for name in names_of_ids(msgspec.json.schema(route.body))}
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    return await tenant.call(route.method, path, json=body, headers=headers)


def seen(answer: Answer, asked_for: str) -> tuple[int, dict[str, str], bytes]:
    """All of an answer but what every answer has for itself."""
    headers = {
        name: text for name, text in answer.headers.items() if name.lower() not in OWN_TO_A_REQUEST
    }
    told = answer.document
    body = answer.body.replace(told["trace_id"].encode(), b"TRACE")
    instance = told["instance"].encode()
    masked = body.replace(instance, instance.replace(asked_for.encode(), b"ASKED"))
    return answer.status, headers, masked


async def books_of(tenant: Service, ids: dict[str, str]) -> list[bytes]:
    """Whatever a change of any of these objects would change."""
    paths = (
        f"/v1/payments/{ids['payment_id']}",
        f"/v1/payments/{ids['payment_id']}/entries",
        f"/v1/payments/{ids['payment_id']}/refunds",
        f"/v1/accounts/{ids['debit_account_id']}/entries?limit=100",
        f"/v1/accounts/{ids['account_id']}",
        f"/v1/accounts/{ids['account_id']}/entries?limit=100",
    )
    return [(await tenant.call("GET", path)).body for path in paths]


def test_the_routes_that_name_an_object_are_found() -> None:
    named = {(case.route.method, case.route.path) for case in CASES}
    assert BODIES.keys() <= named
    assert ("GET", "/v1/transfers/{transfer_id}") in named
    assert {"debit_account_id", "credit_account_id"} < {case.name for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_another_tenant_s_object_looks_like_one_that_nobody_has(
    service: Service, case: Case
) -> None:
    stranger = await service.for_new_tenant()
    owned, own = await ids_of(service), await ids_of(stranger)
    before = await books_of(service, owned)
    theirs = await ask(stranger, case.route, own | {case.name: owned[case.name]})
    told = seen(theirs, owned[case.name])

    # One that could be, and one that cannot.
    for nobodys in (encode(KINDS[case.name], uuid7().int), "none"):
        answer = await ask(stranger, case.route, own | {case.name: nobodys})
        assert seen(answer, nobodys) == told

    expected = (404, "not_found") if case.is_in_path else (422, "validation_failed")
    assert expected == (theirs.status, theirs.code)
    if not case.is_in_path:
        assert [f"#/{case.name}"] == [one["pointer"] for one in theirs.document["errors"]]
    assert owned[case.name].encode() not in theirs.body.replace(
        theirs.document["instance"].encode(), b""
    )
    assert before == await books_of(service, owned)
    # It was the tenant that made the difference, and nothing else about the request.
    assert (await ask(service, case.route, owned)).status == case.route.success


@pytest.mark.parametrize("route", LISTS, ids=lambda route: route.path)
async def test_a_list_holds_nothing_of_another_tenant(service: Service, route: Route) -> None:
    owned = await ids_of(service)
    stranger = await service.for_new_tenant()
    theirs = await service.call("GET", route.path)
    told = await stranger.call("GET", route.path)
    assert (200, 200) == (theirs.status, told.status)
    (name,) = {"data", "currencies"} & told.document.keys()
    assert theirs.document[name]
    assert [] == told.document[name]
    assert not [one for one in owned.values() if one.encode() in told.body]
