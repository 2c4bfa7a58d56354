"""The gate that makes a repeated request harmless.

Reads key and body, makes the claim, lets one request for each key through at a time, and answers
from the reply cache where it can. What the handler answers is remembered if it is final: a
success, or a refusal that a replay must repeat. Must not know what is claimed, nor decide races:
the database does. Source: draft-ietf-httpapi-idempotency-key-header-07.
"""

from typing import TYPE_CHECKING, Final, assert_never

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from fluxpay.core.effects import RememberReply
from fluxpay.core.idempotency import (
    Claim,
    Mismatched,
    Replayed,
    StoredReply,
    fingerprint,
    parse_key,
    recall,
    refusal,
)
from fluxpay.core.problems import PROBLEMS, Code, Refused
from fluxpay.web.body import Limits, read_document
from fluxpay.web.context import CLAIM, DOCUMENT, PRINCIPAL, ROUTE
from fluxpay.web.driver import drive
from fluxpay.web.problems import CONTENT_TYPE, refusal_of, respond
from fluxpay.web.route import Gate, Route
from fluxpay.web.strict_json import canonical
from fluxpay.web.telemetry import Metrics
from fluxpay.web.turnstile import Turnstile

if TYPE_CHECKING:
    from fluxpay.web.world import World

KEY_HEADER: Final = "Idempotency-Key"
REPLAYED_HEADER: Final = "Idempotent-Replayed"
_SUCCESS: Final = range(200, 300)
_RESULT_OF_REFUSAL: Final = {
    Code.IDEMPOTENCY_KEY_REUSED: "mismatch",
    Code.IDEMPOTENCY_KEY_EXPIRED: "expired",
}


def idempotency(world: "World", metrics: Metrics, limits: Limits) -> Gate:
    """Make the gate; it stands open for routes that change nothing."""
    # Half of what a request may take: whoever waited has the other half for its own work.
    turnstile = Turnstile(wait_s=limits.timeout_s / 2)

    def before(route: Route, handler: Handler) -> Handler:
        if not route.idempotent:
            return handler

        async def claim_first(request: web.Request) -> web.StreamResponse:
            claim = await _claim(request, limits)
            if isinstance(claim, Refused):
                return respond(claim, request)
            request[CLAIM] = claim
            place = (claim.tenant_id, claim.key)
            if not await turnstile.enter(place):
                metrics.claim_ended("in_flight")
                return respond(_in_flight(), request)
            try:
                recalled = await drive(recall(claim), world)
                if recalled is not None:
                    return _recalled(recalled, request, metrics)
                response = await handler(request)
                metrics.claim_ended(_result(response))
                if isinstance(response, web.Response) and _is_final(response):
                    await world.perform(RememberReply(claim, _reply_of(claim, response)))
                return response
            finally:
                turnstile.leave(place)

        return claim_first

    return before


def reply_response(reply: StoredReply, *, replayed: bool) -> web.Response:
    """Give a stored reply as it was given the first time, byte for byte."""
    is_problem = reply.status not in _SUCCESS
    headers = {"Content-Type": CONTENT_TYPE if is_problem else "application/json"}
    if reply.location is not None:
        headers[hdrs.LOCATION] = reply.location
    if replayed:
        headers[REPLAYED_HEADER] = "true"
    return web.Response(status=reply.status, body=reply.body, headers=headers)


async def _claim(request: web.Request, limits: Limits) -> Claim | Refused:
    told = request.headers.getall(KEY_HEADER, ())
    if len(told) > 1:
        return Refused(Code.IDEMPOTENCY_KEY_MALFORMED, "Send one Idempotency-Key, not several.")
    key = parse_key(told[0] if told else None)
    if isinstance(key, Refused):
        return key
    body = b""
    if request[ROUTE].body is not None:
        document = await read_document(request, limits)
        if isinstance(document, Refused):
            return document
        request[DOCUMENT] = document.value
        body = canonical(document.value)
    asked = fingerprint(request.method, request.rel_url.raw_path, body)
    return Claim(request[PRINCIPAL].tenant.id, key, asked)


def _recalled(
    recalled: Replayed | Mismatched, request: web.Request, metrics: Metrics
) -> web.Response:
    match recalled:
        case Replayed(reply):
            metrics.claim_ended("replayed_cache")
            return reply_response(reply, replayed=True)
        case Mismatched():
            metrics.claim_ended("mismatch")
            return respond(refusal(recalled), request)
        case _:
            assert_never(recalled)


def _reply_of(claim: Claim, response: web.Response) -> StoredReply:
    return StoredReply(
        fingerprint=claim.fingerprint,
        status=response.status,
        body=bytes(response.body) if isinstance(response.body, bytes | bytearray) else b"",
        location=response.headers.get(hdrs.LOCATION),
    )


def _result(response: web.StreamResponse) -> str:
    if REPLAYED_HEADER in response.headers:
        return "replayed_database"
    refused = refusal_of(response)
    return "new" if refused is None else _RESULT_OF_REFUSAL.get(refused.code, "new")


def _is_final(response: web.Response) -> bool:
    refused = refusal_of(response)
    if refused is not None:
        return PROBLEMS[refused.code].stored
    return response.status in _SUCCESS


def _in_flight() -> Refused:
    return Refused(
        Code.IDEMPOTENCY_IN_FLIGHT,
        "A request with this Idempotency-Key is still being worked on.",
        retry_after_s=1,
    )
