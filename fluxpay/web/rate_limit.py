"""The gate that keeps a tenant within its quotas.

Runs `core.limits.admit` with the quotas that hold for the route's template. What it found is
kept on the request, so that every answer from here on can tell it, problems included.
"""

from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.typedefs import Handler

from fluxpay.core.limits import Throttled, admit, quotas_for
from fluxpay.web.context import PRINCIPAL, QUOTA_STATES
from fluxpay.web.driver import drive
from fluxpay.web.problems import respond
from fluxpay.web.route import Gate, Route
from fluxpay.web.telemetry import Metrics

if TYPE_CHECKING:
    from fluxpay.web.world import World


def rate_limit(world: "World", metrics: Metrics) -> Gate:
    """Make the gate; routes that ask for no key have no tenant to limit."""

    def before(route: Route, handler: Handler) -> Handler:
        if route.scope is None:
            return handler

        metrics.expect_limits(route.path)

        async def limit(request: web.Request) -> web.StreamResponse:
            tenant = request[PRINCIPAL].tenant
            quotas = quotas_for(tenant.spec.rate_limits, method=route.method, route=route.path)
            decision = await drive(admit(tenant.id, quotas), world)
            request[QUOTA_STATES] = decision.states
            if isinstance(decision, Throttled):
                metrics.rate_limited(route.path)
                return respond(decision.refusal(), request)
            return await handler(request)

        return limit

    return before
