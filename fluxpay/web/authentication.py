"""The gate of the API port that asks who is calling.

Runs `core.credentials.identify` for the scope of the route, and hands on the principal. Must not
know what makes a key valid.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from fluxpay.core.credentials import identify
from fluxpay.core.problems import Code, Refused
from fluxpay.web.context import PRINCIPAL
from fluxpay.web.driver import drive
from fluxpay.web.forwarded import Networks, client_address
from fluxpay.web.problems import respond
from fluxpay.web.route import Gate, Route
from fluxpay.web.tracing import trace_of

if TYPE_CHECKING:
    from fluxpay.web.world import World


def authentication(world: "World", trusted: Networks) -> Gate:
    """Make the gate; it stands before routes that ask for a key.

    Args:
        world: Answers the look-up of a key.
        trusted: The proxies whose word about the client's address counts.
    """

    def before(route: Route, handler: Handler) -> Handler:
        scope = route.scope
        if scope is None:
            return handler

        async def authenticate(request: web.Request) -> web.StreamResponse:
            told = request.headers.getall(hdrs.AUTHORIZATION, ())
            if len(told) > 1:
                refused = Refused(Code.UNAUTHORIZED, "Send one Authorization header, not several.")
                return respond(refused, request)
            step = identify(
                told[0] if told else None,
                scope=scope,
                client_address=client_address(request, trusted),
                now=datetime.now(UTC),
            )
            principal = await drive(step, world)
            if isinstance(principal, Refused):
                return respond(principal, request)
            request[PRINCIPAL] = principal
            trace = trace_of(request)
            trace.tenant_id, trace.key_id = principal.tenant.id, principal.key_id
            return await handler(request)

        return authenticate

    return before
