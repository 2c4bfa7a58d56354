"""Every route of the API port and of the admin port, as two tables.

The application mounts them, the gates read what they need from them, and the OpenAPI document is
generated from the first. Must not know how any of them is answered.
"""

from __future__ import annotations

from typing import Any, Final

from fluxpay.core.keys import Scope
from fluxpay.core.problems import Code
from fluxpay.web import (
    accounts,
    admin,
    api_description,
    batches,
    pages,
    payment_changes,
    payments,
    reference_page,
    security_txt,
    transfers,
)
from fluxpay.web.admin_answers import KeyAnswer, KeyList, TenantAnswer, TenantList
from fluxpay.web.admin_bodies import KeyBody, NewKeyBody, PageQuery, TenantBody
from fluxpay.web.bodies import (
    CaptureBody,
    EntryList,
    PaymentAnswer,
    PaymentBody,
    PaymentList,
    PaymentQuery,
    RefundAnswer,
    RefundBody,
    RefundList,
    VoidBody,
)
from fluxpay.web.ledger_bodies import (
    AccountList,
    AccountQuery,
    BalanceAnswer,
    InstantQuery,
    StatementAnswer,
    StatementQuery,
    TrialBalanceAnswer,
)
from fluxpay.web.route import PLAIN_TEXT, Route
from fluxpay.web.transfer_bodies import (
    AccountAnswer,
    AccountBody,
    AccountRuleBody,
    TransferAnswer,
    TransferBody,
)

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
    Route(
        method="POST",
        path="/v1/payments/{payment_id}/capture",
        handler=payment_changes.capture,
        scope=Scope.PAYMENTS_WRITE,
        idempotent=True,
        summary="Take what a payment has authorized, or a part of it",
        body=CaptureBody,
        body_is_optional=True,
        answer=PaymentAnswer,
        problems=(Code.INVALID_TRANSITION, Code.AMOUNT_TOO_LARGE),
    ),
    Route(
        method="POST",
        path="/v1/payments/{payment_id}/void",
        handler=payment_changes.void,
        scope=Scope.PAYMENTS_WRITE,
        idempotent=True,
        summary="Release what is left of an authorization",
        body=VoidBody,
        body_is_optional=True,
        answer=PaymentAnswer,
        problems=(Code.INVALID_TRANSITION,),
    ),
    Route(
        method="POST",
        path="/v1/payments/{payment_id}/refunds",
        handler=payment_changes.refund,
        scope=Scope.REFUNDS_WRITE,
        idempotent=True,
        summary="Give back what was captured, or a part of it",
        body=RefundBody,
        body_is_optional=True,
        answer=RefundAnswer,
        success=201,
        problems=(Code.INVALID_TRANSITION, Code.AMOUNT_TOO_LARGE),
    ),
    Route(
        method="GET",
        path="/v1/payments/{payment_id}/refunds",
        handler=payment_changes.refunds,
        scope=Scope.PAYMENTS_READ,
        summary="List the refunds of a payment, oldest first",
        answer=RefundList,
    ),
    Route(
        method="POST",
        path="/v1/payments/batch",
        handler=batches.create,
        scope=Scope.PAYMENTS_WRITE,
        idempotent=True,
        summary="Make many payments, all or none or each for itself",
        body=batches.BatchBody,
        body_max_bytes=batches.BODY_MAX_BYTES,
        answer=batches.BatchAnswer,
    ),
)

TRANSFER_ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST",
        path="/v1/transfers",
        handler=transfers.create,
        scope=Scope.PAYMENTS_WRITE,
        idempotent=True,
        summary="Move money between two accounts of the tenant",
        body=TransferBody,
        answer=TransferAnswer,
        success=201,
        problems=(Code.INSUFFICIENT_FUNDS,),
    ),
    Route(
        method="GET",
        path="/v1/transfers/{transfer_id}",
        handler=transfers.show,
        scope=Scope.LEDGER_READ,
        summary="Read a transfer, whatever made it",
        answer=TransferAnswer,
    ),
    Route(
        method="POST",
        path="/v1/accounts",
        handler=transfers.open_account,
        scope=Scope.PAYMENTS_WRITE,
        idempotent=True,
        summary="Open an account, or find it open",
        body=AccountBody,
        answer=AccountAnswer,
        success=201,
    ),
    Route(
        method="POST",
        path="/v1/accounts/{account_id}",
        handler=transfers.set_no_overdraft,
        scope=Scope.PAYMENTS_WRITE,
        idempotent=True,
        summary="Switch the rule of an account that it may not be overdrawn",
        body=AccountRuleBody,
        answer=AccountAnswer,
    ),
)

LEDGER_ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/v1/accounts",
        handler=accounts.page,
        scope=Scope.LEDGER_READ,
        summary="List accounts",
        query=AccountQuery,
        answer=AccountList,
    ),
    Route(
        method="GET",
        path="/v1/accounts/{account_id}",
        handler=accounts.show,
        scope=Scope.LEDGER_READ,
        summary="Read an account",
        answer=AccountAnswer,
    ),
    Route(
        method="GET",
        path="/v1/accounts/{account_id}/balance",
        handler=accounts.balance,
        scope=Scope.LEDGER_READ,
        summary="Read the balance of an account, now or at an instant",
        query=InstantQuery,
        answer=BalanceAnswer,
    ),
    Route(
        method="GET",
        path="/v1/accounts/{account_id}/entries",
        handler=accounts.statement,
        scope=Scope.LEDGER_READ,
        summary="Read the statement of an account, oldest first",
        query=StatementQuery,
        answer=StatementAnswer,
    ),
    Route(
        method="GET",
        path="/v1/trial-balance",
        handler=accounts.trial_balance,
        scope=Scope.LEDGER_READ,
        summary="Read the debits and credits of all accounts, now or at an instant",
        query=InstantQuery,
        answer=TrialBalanceAnswer,
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
        path="/docs",
        handler=api_description.handler(
            lambda: API_ROUTES, reference_page.write, pages.respond_with
        ),
        summary="This document, as a page",
        answer=str,
    ),
    Route(
        method="GET",
        path="/.well-known/security.txt",
        handler=security_txt.show,
        summary="Where to report a weakness of this service",
        answer=PLAIN_TEXT,
        problems=(Code.NOT_FOUND,),
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

API_ROUTES: Final[tuple[Route, ...]] = (
    *PAYMENT_ROUTES,
    *TRANSFER_ROUTES,
    *LEDGER_ROUTES,
    *OPEN_ROUTES,
)

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
