"""Every route of the API port and of the admin port, as two tables.

The application mounts them, the gates read what they need from them, and the OpenAPI document is
generated from the first. Must not know how any of them is answered.
"""

from __future__ import annotations

from typing import Any, Final

from fluxpay.core.keys import Scope
from fluxpay.core.problems import Code
from fluxpay.web import admin, api_description, pages, payments
from fluxpay.web.admin_answers import KeyAnswer, KeyList, TenantAnswer, TenantList
from fluxpay.web.admin_bodies import KeyBody, NewKeyBody, PageQuery, TenantBody
from fluxpay.web.bodies import EntryList, PaymentAnswer, PaymentBody, PaymentList, PaymentQuery
from fluxpay.web.route import Route

PAYMENT_ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST",
        path="/v1/payments",
        handler=payments.create,
        scope=Scope.PAYMENTS_WRITE,
        idempotent=True,
        summary="Make a payment",
        body=PaymentBody,
        answer=PaymentAnswer,
        success=201,
        problems=(Code.CURRENCY_NOT_ENABLED, Code.FRAUD_REJECTED),
    ),
    Route(
        method="GET",
        path="/v1/payments",
        handler=payments.page,
        scope=Scope.PAYMENTS_READ,
        summary="List payments, newest first",
        query=PaymentQuery,
        answer=PaymentList,
    ),
    Route(
        method="GET",
        path="/v1/payments/{payment_id}",
        handler=payments.show,
        scope=Scope.PAYMENTS_READ,
        summary="Read a payment",
        answer=PaymentAnswer,
    ),
    Route(
        method="GET",
        path="/v1/payments/{payment_id}/entries",
        handler=payments.entries,
        scope=Scope.LEDGER_READ,
        summary="List the ledger entries of a payment",
        answer=EntryList,
    ),
)

OPEN_ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/openapi.json",
        handler=api_description.handler(lambda: API_ROUTES),
        summary="This document",
        answer=dict[str, Any],
    ),
    Route(
        method="GET",
        path="/problems",
        handler=pages.index,
        summary="All problems, as a page",
        answer=str,
    ),
    Route(
        method="GET",
        path="/problems/{code}",
        handler=pages.show,
        summary="What a problem means and what to do about it, as a page",
        answer=str,
    ),
)

API_ROUTES: Final[tuple[Route, ...]] = (*PAYMENT_ROUTES, *OPEN_ROUTES)

# A quota can be meant for a route, or for one method on it; without a key nothing is counted.
_LIMITED: Final = frozenset(
    name
    for route in API_ROUTES
    if route.scope is not None
    for name in (route.path, f"{route.method} {route.path}")
)
_TENANT: Final = "/admin/v1/tenants/{tenant_id}"

ADMIN_ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="PUT",
        path=_TENANT,
        handler=admin.tenant_writer(_LIMITED),
        summary="Write a tenant",
        body=TenantBody,
        answer=TenantAnswer,
        problems=(Code.STALE_GENERATION, Code.TENANT_CLOSED, Code.ENVIRONMENT_FIXED),
    ),
    Route(
        method="GET",
        path=_TENANT,
        handler=admin.show_tenant,
        summary="Read a tenant",
        answer=TenantAnswer,
    ),
    Route(
        method="DELETE",
        path=_TENANT,
        handler=admin.close_tenant,
        summary="Close a tenant and revoke its keys; its books stay",
        answer=TenantAnswer,
    ),
    Route(
        method="GET",
        path="/admin/v1/tenants",
        handler=admin.page_tenants,
        summary="List tenants",
        query=PageQuery,
        answer=TenantList,
    ),
    Route(
        method="PUT",
        path=f"{_TENANT}/keys/{{key_id}}",
        handler=admin.put_key,
        summary="Register a key that was made elsewhere",
        body=KeyBody,
        answer=KeyAnswer,
        problems=(Code.KEY_CONFLICT, Code.TENANT_CLOSED),
    ),
    Route(
        method="GET",
        path=f"{_TENANT}/keys/{{key_id}}",
        handler=admin.show_key,
        summary="Read a key; never its text",
        answer=KeyAnswer,
    ),
    Route(
        method="DELETE",
        path=f"{_TENANT}/keys/{{key_id}}",
        handler=admin.revoke_key,
        summary="Revoke a key",
        answer=KeyAnswer,
    ),
    Route(
        method="GET",
        path=f"{_TENANT}/keys",
        handler=admin.list_keys,
        summary="List the keys of a tenant",
        answer=KeyList,
    ),
    Route(
        method="POST",
        path=f"{_TENANT}/keys",
        handler=admin.make_key,
        summary="Make a key; sent twice, it makes two",
        body=NewKeyBody,
        answer=KeyAnswer,
        success=201,
        problems=(Code.TENANT_CLOSED,),
    ),
)
