"""Counts how requests for a payment, or for a change of one, end, whoever ended them.

Looks at the request's document and at the finished answer only: status, replay header, and the
refusal behind it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from fluxpay.core.payments import CaptureMode
from fluxpay.core.problems import Code
from fluxpay.web.context import DOCUMENT, ROUTE
from fluxpay.web.idempotency import REPLAYED_HEADER
from fluxpay.web.problems import refusal_of
from fluxpay.web.route import Gate, Route
from fluxpay.web.telemetry import Metrics

_PAYMENTS: Final = ("POST", "/v1/payments")
_SUCCESSES: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        _PAYMENTS: "captured",
        ("POST", "/v1/payments/{payment_id}/capture"): "captured",
        ("POST", "/v1/payments/{payment_id}/void"): "voided",
        ("POST", "/v1/payments/{payment_id}/refunds"): "refunded",
    }
)
"""What a success is called, for each route that is counted; a part counts like the whole."""
_PROMISED: Final = (201, 500, 503)
"""How a new payment may end by what is promised of it, and against it."""
_REFUSED_FROM: Final = 400
_SERVER_FAULT: Final = 500


class _Priced(msgspec.Struct):
    """What is read of a payment or a refund."""

    currency: str


_DECODER: Final = msgspec.json.Decoder(_Priced)


def payment_outcomes(metrics: Metrics) -> Gate:
    """Make the gate; other routes go without it."""

    def before(route: Route, handler: Handler) -> Handler:
        success = _SUCCESSES.get((route.method, route.path))
        if success is None:
            return handler
        if (route.method, route.path) == _PAYMENTS:
            # What appears with its first failures shows no rise: a short outage would be missed.
            metrics.expect_answers(route=route.path, method=route.method, statuses=_PROMISED)

        async def count(request: web.Request) -> web.StreamResponse:
            outcome, response = "failed", None
            try:
                response = await handler(request)
                outcome = _outcome(request, response, success)
            finally:
                metrics.payment_ended(outcome, _currency(request, response))
            refused = refusal_of(response)
            if refused is not None and refused.code is Code.FRAUD_REJECTED:
                metrics.fraud_rejected(str(dict(refused.members)["rule"]))
            return response

        return count

    return before


def _outcome(request: web.Request, response: web.StreamResponse, success: str) -> str:
    if REPLAYED_HEADER in response.headers:
        return "replayed"
    refused = refusal_of(response)
    if refused is None:
        return "authorized" if _is_authorization(request) else success
    if refused.code is Code.FRAUD_REJECTED:
        return "fraud_rejected"
    return "failed" if response.status >= _SERVER_FAULT else "refused"


def _is_authorization(request: web.Request) -> bool:
    # It succeeded, so its body was an object; only that of a new payment has this member.
    document = request.get(DOCUMENT)
    return isinstance(document, dict) and document.get("capture") == CaptureMode.MANUAL


def _currency(request: web.Request, response: web.StreamResponse | None) -> object:
    """The currency that was asked for; a change names none, so there the answer is read."""
    route = request[ROUTE]
    if (route.method, route.path) == _PAYMENTS:
        document = request.get(DOCUMENT)
        return document.get("currency") if isinstance(document, dict) else None
    if not isinstance(response, web.Response) or response.status >= _REFUSED_FROM:
        return None
    return _DECODER.decode(response.body).currency if isinstance(response.body, bytes) else None
