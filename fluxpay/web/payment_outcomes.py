"""Counts how requests for a payment end, whichever gate or handler ended them.

Looks at the finished answer only: status, replay header and the refusal behind it.
"""

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from fluxpay.core.problems import Code
from fluxpay.web.context import DOCUMENT, REFUSED, ROUTE
from fluxpay.web.idempotency import REPLAYED_HEADER
from fluxpay.web.telemetry import Metrics

_PAYMENTS: Final = ("POST", "/v1/payments")
_SERVER_FAULT: Final = 500


def payment_outcomes(metrics: Metrics) -> Middleware:
    """Make the middleware; other routes pass."""

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = request[ROUTE]
        if (route.method, route.path) != _PAYMENTS:
            return await handler(request)
        outcome = "failed"
        try:
            response = await handler(request)
            outcome = _outcome(response)
        finally:
            document = request.get(DOCUMENT)
            currency = document.get("currency") if isinstance(document, dict) else None
            metrics.payment_ended(outcome, currency)
        refused = response.get(REFUSED)
        if refused is not None and refused.code is Code.FRAUD_REJECTED:
            metrics.fraud_rejected(str(dict(refused.members)["rule"]))
        return response

    return count


def _outcome(response: web.StreamResponse) -> str:
    if REPLAYED_HEADER in response.headers:
        return "replayed"
    refused = response.get(REFUSED)
    if refused is None:
        return "captured"
    if refused.code is Code.FRAUD_REJECTED:
        return "fraud_rejected"
    return "failed" if response.status >= _SERVER_FAULT else "refused"
