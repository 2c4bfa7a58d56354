"""The OpenAPI document: valid, complete, and what the service really does."""

import copy
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from fluxpay.core.ids import IdKind, encode
from fluxpay.core.problems import PROBLEMS, Code, Refused, problem_type
from fluxpay.web.bodies import PaymentBody
from fluxpay.web.openapi import document
from fluxpay.web.problem_description import codes
from fluxpay.web.route import Route
from fluxpay.web.routes import API_ROUTES
from fluxpay.web.validation import parse
from tests.web.changes import authorized, change
from tests.web.service import PAYMENT, Answer, Service

DOCUMENT = document()
PROBLEM = "application/problem+json"


def strict(schemas: dict[str, Any]) -> dict[str, Any]:
    """The schemas with every object closed: a member nobody documented is a fault here."""
    closed = copy.deepcopy(schemas)
    for name, schema in closed.items():
        if schema.get("type") == "object" and name != "ProblemAnswer":
            schema.setdefault("additionalProperties", False)
    return closed


COMPONENTS = {"components": {"schemas": strict(DOCUMENT["components"]["schemas"])}}


def faults(instance: object, schema: dict[str, Any]) -> list[str]:
    # The references of a schema lead to the components, so these come along.
    validator = Draft202012Validator(
        schema | COMPONENTS, format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    return [error.message for error in validator.iter_errors(instance)]


def operation(method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][path][method.lower()]
    return found


def check(answer: Answer, method: str, path: str) -> None:
    """Hold a real answer against what the document says of its operation."""
    promised = operation(method, path)["responses"]
    assert str(answer.status) in promised, answer.body
    response = promised[str(answer.status)]
    ((media, content),) = response["content"].items()
    assert media == answer.headers["Content-Type"].partition(";")[0]
    if not media.startswith("text/"):
        assert [] == faults(answer.document, content["schema"])
    optional = {"Idempotent-Replayed", "Link"}
    if answer.status == HTTPStatus.CONFLICT:
        # Only where waiting helps: a payment in another state stays in it.
        optional.add("Retry-After")
    always = set(response["headers"]) - optional
    assert set() == {name for name in always if name not in answer.headers}


def test_the_document_is_valid_openapi() -> None:
    validate(DOCUMENT)


def test_every_route_is_described_and_nothing_else() -> None:
    expected = {(route.method.lower(), route.path) for route in API_ROUTES}
    described = {(method, path) for path, item in DOCUMENT["paths"].items() for method in item}
    assert expected == described
    ids = [one["operationId"] for item in DOCUMENT["paths"].values() for one in item.values()]
    assert len(ids) == len(set(ids))


def test_every_problem_is_described_with_its_status_title_and_remedy() -> None:
    described = {one["const"]: one for one in DOCUMENT["components"]["schemas"]["Code"]["oneOf"]}
    examples = DOCUMENT["components"]["examples"]
    assert set(Code) == set(described) == set(examples)
    for code, problem in PROBLEMS.items():
        assert problem.title == described[code]["title"]
        assert f"HTTP status {problem.status}. {problem.remedy}" == described[code]["description"]
        assert problem_type(code) == examples[code]["value"]["type"]
        schema = {"$ref": "#/components/schemas/ProblemAnswer"}
        assert [] == faults(examples[code]["value"], schema)


@pytest.mark.parametrize("route", API_ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_problem_of_an_operation_stands_under_its_status(route: Route) -> None:
    found: list[tuple[int, str]] = []
    for status, response in operation(route.method, route.path)["responses"].items():
        if PROBLEM not in response["content"]:
            continue
        _, narrowed = response["content"][PROBLEM]["schema"]["allOf"]
        listed = narrowed["properties"]["code"]["enum"]
        assert set(listed) == set(response["content"][PROBLEM]["examples"])
        assert all(f"`{code}`" in response["description"] for code in listed)
        found += [(int(status), code) for code in listed]
    assert sorted((PROBLEMS[code].status, code) for code in codes(route)) == sorted(found)


def test_a_keyed_route_promises_what_its_gates_refuse_and_an_open_one_does_not() -> None:
    pay, paged, opened = (
        set(codes(route)) for route in (API_ROUTES[0], API_ROUTES[1], API_ROUTES[-1])
    )
    gates = {Code.UNAUTHORIZED, Code.SCOPE_MISSING, Code.TENANT_SUSPENDED, Code.RATE_LIMITED}
    assert gates <= pay & paged
    assert not gates & opened
    assert {Code.IDEMPOTENCY_KEY_MISSING, Code.MALFORMED_JSON, Code.FRAUD_REJECTED} <= pay - paged
    assert {Code.INVALID_PARAMETER} <= paged - pay
    assert {Code.NOT_FOUND} <= opened - paged


def test_the_parameters_of_the_list_are_its_query_and_never_null() -> None:
    parameters = {one["name"]: one for one in operation("GET", "/v1/payments")["parameters"]}
    names = ["status", "currency", "reference", "created_gte", "created_lt", "limit", "cursor"]
    assert names == list(parameters)
    assert all(one["in"] == "query" and not one["required"] for one in parameters.values())
    assert not any("null" in str(one["schema"]) for one in parameters.values())
    limit = parameters["limit"]["schema"]
    assert (1, 100, 20) == (limit["minimum"], limit["maximum"], limit["default"])


async def test_the_service_serves_the_document_without_a_key(service: Service) -> None:
    served = await service.call("GET", "/openapi.json", headers={"Authorization": ""})
    assert (200, DOCUMENT) == (served.status, served.document)
    check(served, "GET", "/openapi.json")


async def test_real_answers_are_as_described(service: Service) -> None:
    payments = ("POST", "/v1/payments")
    body = operation(*payments)["requestBody"]["content"]["application/json"]
    example = body["examples"]["full"]["value"]
    assert set(PaymentBody.__struct_fields__) - {"capture"} == set(example)
    for made in (await service.pay("once", example), await service.pay("once", example)):
        assert made.status == 201
        check(made, *payments)
    await service.pay(body=PAYMENT)
    payment_id = made.document["id"]
    reads = {
        "/v1/payments": "/v1/payments?limit=1",
        "/v1/payments/{payment_id}": f"/v1/payments/{payment_id}",
        "/v1/payments/{payment_id}/entries": f"/v1/payments/{payment_id}/entries",
        "/v1/payments/{payment_id}/refunds": f"/v1/payments/{payment_id}/refunds",
        "/docs": "/docs",
        "/problems": "/problems",
        "/problems/{code}": "/problems/not_found",
    }
    for template, path in reads.items():
        answer = await service.call("GET", path)
        assert answer.status == 200
        check(answer, "GET", template)


async def test_real_changes_of_a_payment_are_as_described(service: Service) -> None:
    path = "/v1/payments/{payment_id}/"
    payment_id, voided = [await authorized(service) for _ in range(2)]
    for action, changed, statuses in [
        ("capture", payment_id, [200, 422]),
        ("refunds", payment_id, [201, 409]),
        ("void", voided, [200, 409]),
    ]:
        described = operation("POST", path + action)["requestBody"]
        example = described["content"]["application/json"]["examples"]["full"]["value"]
        assert not described["required"]
        asked_for = example | {"amount": 600} if action != "void" else example
        for status in statuses:
            answer = await change(service, changed, action, **asked_for)
            assert status == answer.status
            check(answer, "POST", path + action)
    for template in (path + "refunds", path + "entries"):
        answer = await service.call("GET", template.format(payment_id=payment_id))
        assert answer.document["data"]
        check(answer, "GET", template)


async def test_real_problems_are_as_described(service: Service) -> None:
    payments = ("POST", "/v1/payments")
    limits = {
        "payment_limits": [{"currency": "EUR", "max_amount": 1}],
        "rate_limits": [
            {"name": "reads", "route": "GET /v1/payments", "requests": 1, "window_s": 60}
        ],
    }
    limited = await service.for_new_tenant(**limits)
    key, no_key = {"Idempotency-Key": "k"}, {"Authorization": ""}
    refused = [
        (await service.pay(body={"amount": 0}), *payments),
        (await service.pay(body=PAYMENT | {"currency": "KWD"}), *payments),
        (await service.pay(body=[]), *payments),
        (await limited.pay(body=PAYMENT), *payments),
        (await service.call("POST", "/v1/payments", json=PAYMENT), *payments),
        (await service.call("POST", "/v1/payments", data=b"{", headers=key), *payments),
        (await service.call("POST", "/v1/payments", json=PAYMENT, headers=no_key), *payments),
        (await service.call("GET", "/v1/payments?limit=0"), "GET", "/v1/payments"),
        (
            await service.call("GET", f"/v1/payments/{encode(IdKind.PAYMENT, 1)}"),
            "GET",
            "/v1/payments/{payment_id}",
        ),
        (await service.call("GET", "/problems/none"), "GET", "/problems/{code}"),
        *[(await limited.call("GET", "/v1/payments"), "GET", "/v1/payments") for _ in range(2)],
    ]
    for answer, method, path in refused:
        check(answer, method, path)
    statuses = [answer.status for answer, _, _ in refused]
    assert [422, 422, 422, 422, 400, 415, 401, 400, 404, 404, 200, 429] == statuses


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.sampled_from([2**53 - 1, 2**53])
    | st.text(max_size=3)
    | st.sampled_from(["EUR", "eur", "automatic", "manual", "x" * 255, "x" * 256, "x" * 1001])
    | st.lists(st.integers(), max_size=1)
    | st.dictionaries(
        st.sampled_from(["", "a", "x" * 40, "x" * 41]), st.sampled_from(["", "x" * 501, None, 1])
    )
)
CHANGES = st.dictionaries(
    st.sampled_from([*PaymentBody.__struct_fields__, "tip"]), VALUES, max_size=2
)


@given(changes=CHANGES, left_out=st.sets(st.sampled_from(["amount", "currency"]), max_size=1))
def test_the_schema_of_a_payment_takes_exactly_what_the_validator_takes(
    changes: dict[str, object], left_out: set[str]
) -> None:
    body = {name: one for name, one in (PAYMENT | changes).items() if name not in left_out}
    is_described = not faults(body, {"$ref": "#/components/schemas/PaymentBody"})
    is_taken = not isinstance(parse(body, PaymentBody), Refused)
    assert is_described == is_taken
