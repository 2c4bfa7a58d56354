"""Routes as an OpenAPI 3.1 document, from the types that validate and the gates that refuse.

Nothing is described twice: schemas come from the bodies and answers, problems from the one table
and from what each route has to pass. Must not know any route in particular.
Source: OpenAPI Specification 3.1.1.
"""

from __future__ import annotations

import re
from functools import cache
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

import fluxpay
from fluxpay.core.problems import PROBLEMS, Code
from fluxpay.web.bodies import ProblemAnswer
from fluxpay.web.problem_description import (
    PATH_PARAMETER,
    code_schema,
    codes,
    problem_example,
)
from fluxpay.web.problems import CONTENT_TYPE
from fluxpay.web.route import PLAIN_TEXT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from fluxpay.web.route import Route

Json = dict[str, Any]

_REF: Final = "#/components/schemas/{name}"
_DESCRIPTION: Final = """\
Multi-tenant payments with a double-entry ledger. Amounts are integers in minor units. Every
request that changes something carries an Idempotency-Key: repeat the request with the same key and
it is done once, and answered alike. Every error is `application/problem+json` with a stable
`code`; a path that does not take a method answers 405 `method_not_allowed` with `Allow`.
"""


_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "X-Request-Id": "The id of this request: yours if you sent one, otherwise its trace id.",
        "Location": "Where what was made can be read.",
        "Idempotent-Replayed": "`true` when this is the reply to an earlier request, given again.",
        "RateLimit": "What is left of each quota, and when it is whole again (seconds).",
        "RateLimit-Policy": "The quotas: requests `q` in a window of `w` seconds.",
        "Retry-After": "Seconds after which trying again can succeed, if it can.",
        "Link": 'The next page (`rel="next"`), with the filters kept; absent on the last one.',
        "WWW-Authenticate": "`Bearer`.",
        "Accept": "The type that is read here.",
    }
)
_MEDIA: Final[Mapping[object, str]] = MappingProxyType({str: "text/html", PLAIN_TEXT: "text/plain"})
_HEADERS_BY_STATUS: Final[Mapping[int, tuple[str, ...]]] = MappingProxyType(
    {
        401: ("WWW-Authenticate",),
        409: ("Retry-After",),
        415: ("Accept",),
        429: ("Retry-After", "RateLimit", "RateLimit-Policy"),
        503: ("Retry-After",),
    }
)


def describe(routes: tuple[Route, ...]) -> Json:
    """The OpenAPI document of these routes."""
    schemas = _schemas(routes)
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    for query in {route.query for route in routes if route.query is not None}:
        # Query parameters stand with their operations; as a schema nothing refers to them.
        del schemas[query.__name__]
    document = {
        "openapi": "3.1.1",
        "info": {
            "title": "FluxPay",
            "version": fluxpay.__version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"api_key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"api_key": _security_scheme()},
            "schemas": schemas,
            "headers": {name: _header(text) for name, text in _HEADERS.items()},
            "examples": {code.value: problem_example(code) for code in PROBLEMS},
        },
    }
    # Tuples become lists and enums their values, as they will once the document is read again.
    plain: Json = msgspec.json.decode(msgspec.json.encode(document))
    return plain


def _as_json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def handler(
    routes: Callable[[], tuple[Route, ...]],
    write: Callable[[Json], bytes] = msgspec.json.encode,
    respond_with: Callable[[bytes], web.Response] = _as_json,
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Make a handler that shows the document, which is written once, when first asked for.

    Args:
        routes: Gives the routes; a function, since this very route is one of them.
        write: Puts the document into the form that is shown.
        respond_with: Makes an answer of it.
    """

    @cache
    def written() -> bytes:
        return write(describe(routes()))

    async def show(_request: web.Request) -> web.Response:
        return respond_with(written())

    return show


def _schemas(routes: tuple[Route, ...]) -> dict[str, Json]:
    types: list[Any] = [ProblemAnswer]
    for route in routes:
        types += [one for one in (route.body, route.query, route.answer) if one is not None]
    _, schemas = msgspec.json.schema_components(types, ref_template=_REF)
    return schemas | {"Code": code_schema()}


def _schema(wanted: Any) -> Json:
    (schema,), _ = msgspec.json.schema_components([wanted], ref_template=_REF)
    return schema


def _operation(route: Route, schemas: Mapping[str, Json]) -> Json:
    words = re.findall(r"\w+", route.path.removeprefix("/v1"))
    operation: Json = {
        "operationId": "_".join((route.method.lower(), *words)),
        "summary": route.summary,
        "responses": {str(route.success): _success(route), **_refusals(route)},
    }
    parameters = _parameters(route, schemas)
    if parameters:
        operation["parameters"] = parameters
    if route.scope is None:
        operation["security"] = []
    else:
        operation["description"] = f"The key needs the scope `{route.scope}`."
    if route.body is not None:
        operation["requestBody"] = _request_body(
            route.body, schemas[route.body.__name__], is_optional=route.body_is_optional
        )
    return operation


def _parameters(route: Route, schemas: Mapping[str, Json]) -> list[Json]:
    found: list[Json] = [_path_parameter(name) for name in PATH_PARAMETER.findall(route.path)]
    if route.query is not None:
        schema = schemas[route.query.__name__]
        required = schema.get("required", ())
        for name, one in schema["properties"].items():
            bare = _without_null(one)
            about = {"description": bare["description"]} if "description" in bare else {}
            found.append(
                {"name": name, "in": "query", "required": name in required, "schema": bare} | about
            )
    if route.idempotent:
        found.append(_idempotency_key())
    return found


def _path_parameter(name: str) -> Json:
    schema: Json = {"type": "string"}
    if name.endswith("_id"):
        schema["description"] = "A TypeID. One that is malformed is not found."
    elif name == "code":
        schema = {"$ref": _REF.format(name="Code")}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _without_null(schema: Json) -> Json:
    """A parameter is left out, never null: the schema of a field without that alternative."""
    if "anyOf" not in schema:
        return schema
    (bare,) = (one for one in schema["anyOf"] if one != {"type": "null"})
    return dict(bare)


def _idempotency_key() -> Json:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": True,
        "description": "1 to 255 visible ASCII characters, bare or as a quoted string. The same "
        "key with the same request gets the same reply; with another request it is refused.",
        "schema": {"type": "string", "minLength": 1},
        "example": "0190163d-8694-739b-aea5-966c26f8ad91",
    }


def _request_body(body: type[msgspec.Struct], schema: Json, *, is_optional: bool) -> Json:
    example = {
        name: shown
        for name, one in schema["properties"].items()
        if (shown := _first_example(one)) is not None
    }
    content = {"schema": _schema(body), "examples": {"full": {"value": example}}}
    return {"required": not is_optional, "content": {"application/json": content}}


def _first_example(schema: Json) -> object:
    return next(iter(_without_null(schema).get("examples", ())), None)


def _success(route: Route) -> Json:
    names = ["X-Request-Id"]
    if route.success == HTTPStatus.CREATED:
        names.append("Location")
    if route.idempotent:
        names.append("Idempotent-Replayed")
    if route.scope is not None:
        names += ["RateLimit", "RateLimit-Policy"]
    if route.query is not None:
        names.append("Link")
    response: Json = {"description": HTTPStatus(route.success).phrase, "headers": _headers(names)}
    if route.answer is not None:
        media = _MEDIA.get(route.answer, "application/json")
        response["content"] = {media: {"schema": _schema(route.answer)}}
    return response


def _refusals(route: Route) -> dict[str, Json]:
    by_status: dict[int, list[Code]] = {}
    for code in codes(route):
        by_status.setdefault(PROBLEMS[code].status, []).append(code)
    return {str(status): _refusal(status, by_status[status]) for status in sorted(by_status)}


def _refusal(status: int, found: list[Code]) -> Json:
    lines = [f"- `{code}`: {PROBLEMS[code].title}. {PROBLEMS[code].remedy}" for code in found]
    narrowed = {"properties": {"code": {"enum": found}, "status": {"const": status}}}
    content = {
        "schema": {"allOf": [_schema(ProblemAnswer), narrowed]},
        "examples": {code: {"$ref": f"#/components/examples/{code}"} for code in found},
    }
    return {
        "description": "\n".join(lines),
        "headers": _headers(("X-Request-Id", *_HEADERS_BY_STATUS.get(status, ()))),
        "content": {CONTENT_TYPE: content},
    }


def _headers(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _header(text: str) -> Json:
    return {"description": text, "schema": {"type": "string"}}


def _security_scheme() -> Json:
    return {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "fp_live_... or fp_test_...",
        "description": "`Authorization: Bearer` and the whole key.",
    }
