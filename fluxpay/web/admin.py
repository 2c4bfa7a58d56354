"""The admin routes: tenants and their keys, as platform teams and the operator write them.

A PUT may be sent again and again: the generation, or the key's digest, tells whether anything is
new. What may be written is decided in the core; this turns its decisions into responses. Must
not know how the admin token is checked, nor SQL.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, assert_never

from uuid_utils import uuid7

from fluxpay.core import credentials
from fluxpay.core.effects import (
    CloseTenant,
    FindTenant,
    ListApiKeys,
    ListTenants,
    PutApiKey,
    PutTenant,
    RevokeApiKey,
)
from fluxpay.core.ids import IdKind, encode, is_id
from fluxpay.core.keys import KeyConflict, KeyUnchanged, KeyWritten
from fluxpay.core.problems import Code, FieldError, Refused
from fluxpay.core.tenants import (
    EnvironmentFixed,
    NoSuchTenant,
    StaleGeneration,
    TenantClosed,
    Unchanged,
    Written,
)
from fluxpay.web import cursors, validation
from fluxpay.web.admin_answers import key_document, tenant_document
from fluxpay.web.admin_bodies import KeyBody, NewKeyBody, PageQuery, TenantBody, whole_ms
from fluxpay.web.answers import answer, ask
from fluxpay.web.context import DOCUMENT
from fluxpay.web.problems import respond

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from fluxpay.core.keys import ApiKey, KeyOutcome
    from fluxpay.core.tenants import Registration, TenantSpec


def tenant_writer(routes: frozenset[str]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Make the handler of `PUT /admin/v1/tenants/{tenant_id}`.

    Args:
        routes: What a rate limit may name as its route: `/v1/payments`, `POST /v1/payments`, ...
    """

    async def put_tenant(request: web.Request) -> web.Response:
        tenant_id = request.match_info["tenant_id"]
        if not is_id(IdKind.TENANT, tenant_id):
            return respond(_not_an_id("tenant_id", IdKind.TENANT), request)
        body = validation.parse(request[DOCUMENT], TenantBody)
        if isinstance(body, Refused):
            return respond(body, request)
        spec = body.spec()
        unknown = _unknown_routes(spec, routes)
        if unknown is not None:
            return respond(unknown, request)
        outcome = await ask(request, PutTenant(tenant_id, spec, _now()))
        return _registered(request, outcome)

    return put_tenant


async def show_tenant(request: web.Request) -> web.Response:
    """`GET /admin/v1/tenants/{tenant_id}`."""
    tenant_id = request.match_info["tenant_id"]
    found = None
    if is_id(IdKind.TENANT, tenant_id):
        found = await ask(request, FindTenant(tenant_id))
    return respond(_no_such_tenant(), request) if found is None else answer(tenant_document(found))


async def close_tenant(request: web.Request) -> web.Response:
    """`DELETE /admin/v1/tenants/{tenant_id}`."""
    tenant_id = request.match_info["tenant_id"]
    closed = None
    if is_id(IdKind.TENANT, tenant_id):
        closed = await ask(request, CloseTenant(tenant_id, _now()))
    return (
        respond(_no_such_tenant(), request) if closed is None else answer(tenant_document(closed))
    )


async def page_tenants(request: web.Request) -> web.Response:
    """`GET /admin/v1/tenants`."""
    query = validation.parse_query(request.query, PageQuery)
    if isinstance(query, Refused):
        return respond(query, request)
    after = None if query.cursor is None else cursors.decode(query.cursor, IdKind.TENANT)
    if query.cursor is not None and after is None:
        return respond(cursors.refusal(), request)
    found = await ask(request, ListTenants(after, query.limit + 1))
    shown = found[: query.limit]
    return cursors.page(
        request,
        data=[tenant_document(tenant) for tenant in shown],
        last_id=shown[-1].id if len(found) > len(shown) else None,
    )


async def put_key(request: web.Request) -> web.Response:
    """`PUT /admin/v1/tenants/{tenant_id}/keys/{key_id}`."""
    tenant_id, key_id = request.match_info["tenant_id"], request.match_info["key_id"]
    if not is_id(IdKind.TENANT, tenant_id):
        return respond(_not_an_id("tenant_id", IdKind.TENANT), request)
    if not is_id(IdKind.KEY, key_id):
        return respond(_not_an_id("key_id", IdKind.KEY), request)
    body = validation.parse(request[DOCUMENT], KeyBody)
    if isinstance(body, Refused):
        return respond(body, request)
    tenant = await ask(request, FindTenant(tenant_id))
    if tenant is None:
        return respond(_no_such_tenant(), request)
    # A tenant never changes its environment, so what was just read still holds at the write.
    expected = f"fp_{tenant.spec.environment}_"
    if not body.prefix.startswith(expected):
        wrong = f"Must begin with {expected}, as the tenant's environment says."
        return respond(validation.invalid(FieldError("#/prefix", wrong)), request)
    outcome = await ask(request, PutApiKey(body.key(key_id, tenant_id, now=_now())))
    return _key_registered(request, outcome)


async def make_key(request: web.Request) -> web.Response:
    """`POST /admin/v1/tenants/{tenant_id}/keys`: the one reply that shows a key.

    It is not idempotent: sent twice it makes two keys, since the first can never be shown again.
    """
    tenant_id, now = request.match_info["tenant_id"], _now()
    body = validation.parse(request[DOCUMENT], NewKeyBody)
    if isinstance(body, Refused):
        return respond(body, request)
    if body.expires_at is not None and body.expires_at <= now:
        past = FieldError("#/expires_at", "Must lie in the future.")
        return respond(validation.invalid(past), request)
    tenant = None
    if is_id(IdKind.TENANT, tenant_id):
        tenant = await ask(request, FindTenant(tenant_id))
    if tenant is None:
        return respond(_no_such_tenant(), request)
    key_id, environment = encode(IdKind.KEY, uuid7().int), tenant.spec.environment
    entropy = secrets.token_bytes(credentials.SECRET_ENTROPY_BYTES)
    token = credentials.mint(environment, key_id, entropy)
    key = body.key(
        key_id,
        tenant_id,
        now=now,
        prefix=credentials.shown_prefix(environment, key_id),
        digest=credentials.digest(token),
    )
    return _key_registered(request, await ask(request, PutApiKey(key)), token=token)


async def list_keys(request: web.Request) -> web.Response:
    """`GET /admin/v1/tenants/{tenant_id}/keys`."""
    found = await _keys(request)
    if found is None:
        return respond(_no_such_tenant(), request)
    return cursors.page(request, data=[key_document(key) for key in found], last_id=None)


async def show_key(request: web.Request) -> web.Response:
    """`GET /admin/v1/tenants/{tenant_id}/keys/{key_id}`."""
    key_id = request.match_info["key_id"]
    for key in await _keys(request) or ():
        if key.id == key_id:
            return answer(key_document(key))
    return respond(_no_such_key(), request)


async def revoke_key(request: web.Request) -> web.Response:
    """`DELETE /admin/v1/tenants/{tenant_id}/keys/{key_id}`."""
    tenant_id, key_id = request.match_info["tenant_id"], request.match_info["key_id"]
    revoked = None
    if is_id(IdKind.TENANT, tenant_id) and is_id(IdKind.KEY, key_id):
        revoked = await ask(request, RevokeApiKey(tenant_id, key_id, _now()))
    return respond(_no_such_key(), request) if revoked is None else answer(key_document(revoked))


async def _keys(request: web.Request) -> tuple[ApiKey, ...] | None:
    tenant_id = request.match_info["tenant_id"]
    if not is_id(IdKind.TENANT, tenant_id):
        return None
    return await ask(request, ListApiKeys(tenant_id))


def _registered(request: web.Request, outcome: Registration) -> web.Response:
    match outcome:
        case Written(tenant, created=True):
            location = {"Location": f"/admin/v1/tenants/{tenant.id}"}
            return answer(tenant_document(tenant), status=201, headers=location)
        case Written(tenant) | Unchanged(tenant):
            return answer(tenant_document(tenant))
        case StaleGeneration(current):
            stale = Refused(
                Code.STALE_GENERATION,
                f"Generation {current} is in place.",
                members=(("current_generation", current),),
            )
            return respond(stale, request)
        case TenantClosed():
            return respond(_tenant_closed(), request)
        case EnvironmentFixed():
            fixed = Refused(
                Code.ENVIRONMENT_FIXED, "This tenant was made for the other environment."
            )
            return respond(fixed, request)
        case _:
            assert_never(outcome)


def _key_registered(
    request: web.Request, outcome: KeyOutcome, *, token: str | None = None
) -> web.Response:
    match outcome:
        case KeyWritten(key, created=True):
            shown = key_document(key) | ({} if token is None else {"api_key": token})
            location = f"/admin/v1/tenants/{key.tenant_id}/keys/{key.id}"
            return answer(shown, status=201, headers={"Location": location})
        case KeyWritten(key) | KeyUnchanged(key):
            return answer(key_document(key))
        case KeyConflict(detail):
            return respond(Refused(Code.KEY_CONFLICT, detail), request)
        case NoSuchTenant():
            return respond(_no_such_tenant(), request)
        case TenantClosed():
            return respond(_tenant_closed(), request)
        case _:
            assert_never(outcome)


def _unknown_routes(spec: TenantSpec, routes: frozenset[str]) -> Refused | None:
    known = f"Must be one of {', '.join(sorted(routes))}."
    errors = [
        FieldError(f"#/rate_limits/{position}/route", known)
        for position, quota in enumerate(spec.rate_limits)
        if quota.route is not None and quota.route not in routes
    ]
    return validation.invalid(*errors) if errors else None


def _not_an_id(name: str, kind: IdKind) -> Refused:
    wrong = f"Must be a TypeID: {kind}_ and 26 digits or small letters, such as {encode(kind, 0)}."
    return validation.invalid(FieldError(f"#/{name}", wrong))


def _no_such_tenant() -> Refused:
    return Refused(Code.NOT_FOUND, "There is no such tenant.")


def _no_such_key() -> Refused:
    return Refused(Code.NOT_FOUND, "There is no such key.")


def _tenant_closed() -> Refused:
    return Refused(Code.TENANT_CLOSED, "This tenant is closed, for good.")


def _now() -> datetime:
    return whole_ms(datetime.now(UTC))
