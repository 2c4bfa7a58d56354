"""The two applications: their routes, and the gates in their order.

    API:    boundary -> https -> authentication -> rate limit -> idempotency -> handler
    admin:  boundary -> https -> admin token -> body -> handler

Each gate sheds what the next need not see, and stands only before the routes that need it.
What matches no route is answered where every answer leaves, in `protocol`.
Composition only: nothing is decided here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from fluxpay.core.fraud import Rule
from fluxpay.settings import Settings
from fluxpay.web.admin_authentication import AdminTokens, admin_authentication
from fluxpay.web.authentication import authentication
from fluxpay.web.body import Limits, body_reading, defer_continue
from fluxpay.web.boundary import boundary
from fluxpay.web.context import METRICS, RULES, SETTINGS, WORLD
from fluxpay.web.forwarded import https_gate
from fluxpay.web.health import Health
from fluxpay.web.idempotency import idempotency
from fluxpay.web.payment_outcomes import payment_outcomes
from fluxpay.web.rate_limit import rate_limit
from fluxpay.web.route import Gate, Route
from fluxpay.web.telemetry import Metrics

if TYPE_CHECKING:
    from fluxpay.web.world import World


@dataclass(frozen=True, slots=True)
class Parts:
    """What both applications are made of."""

    settings: Settings
    world: "World"
    rules: tuple[Rule, ...]
    metrics: Metrics
    health: Health


def build_api(parts: Parts, routes: Iterable[Route]) -> web.Application:
    """Make the application of the API port."""
    settings, world, metrics = parts.settings, parts.world, parts.metrics
    for rule in parts.rules:
        metrics.expect_rule(rule.name)
    gates = [
        payment_outcomes(metrics),
        authentication(world, settings.trusted_proxies),
        rate_limit(world, metrics),
        idempotency(world, metrics, _limits(settings)),
    ]
    return _application(parts, (*routes, *parts.health.routes()), gates)


def build_admin(parts: Parts, routes: Iterable[Route]) -> web.Application:
    """Make the application of the admin port."""

    async def metrics_page(request: web.Request) -> web.Response:
        accept = request.headers.get(hdrs.ACCEPT, "")
        text, content_type = parts.metrics.exposition(accept)
        return web.Response(body=text, headers={hdrs.CONTENT_TYPE: content_type})

    metrics_route = Route("GET", "/metrics", metrics_page, summary="Metrics for Prometheus")
    gates = [
        admin_authentication(AdminTokens(parts.settings)),
        body_reading(_limits(parts.settings)),
    ]
    return _application(parts, (*routes, *parts.health.routes(), metrics_route), gates)


def _application(parts: Parts, routes: Iterable[Route], gates: Iterable[Gate]) -> web.Application:
    app = web.Application()
    app[SETTINGS], app[WORLD] = parts.settings, parts.world
    app[RULES], app[METRICS] = parts.rules, parts.metrics
    outer = [boundary(timeout_s=parts.settings.request_timeout_s)]
    if not parts.settings.allow_http:
        outer.append(https_gate(parts.settings.trusted_proxies))
    _mount(app, routes, (*outer, *gates))
    return app


def _mount(app: web.Application, routes: Iterable[Route], gates: Sequence[Gate]) -> None:
    for route in routes:
        handler: Handler = route.handler
        for gate in reversed(gates):
            handler = gate(route, handler)
        # Whatever can be read can be asked for its head (RFC 9110, section 9.1).
        for method in (route.method, *(("HEAD",) if route.method == "GET" else ())):
            app.router.add_route(method, route.path, handler, expect_handler=defer_continue)


def _limits(settings: Settings) -> Limits:
    return Limits(settings.body_max_bytes, settings.request_timeout_s)
