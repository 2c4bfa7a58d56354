"""The typed keys under which an application and a request carry what the chain hands on.

Knows names and types only. A handler may rely on every request key that its route asks for: the
chain has put it there, or the handler was never called.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from fluxpay.core.credentials import Principal
from fluxpay.core.fraud import Rule
from fluxpay.core.idempotency import Claim
from fluxpay.core.limits import QuotaState
from fluxpay.core.problems import Refused
from fluxpay.settings import Settings
from fluxpay.web.deadlines import Deadline
from fluxpay.web.route import Route
from fluxpay.web.telemetry import Metrics
from fluxpay.web.tracing import TRACE

if TYPE_CHECKING:
    from fluxpay.web.world import World

__all__ = [
    "CLAIM",
    "DEADLINE",
    "DOCUMENT",
    "FAULT",
    "METRICS",
    "PRINCIPAL",
    "PROBES",
    "QUOTA_STATES",
    "REFUSED",
    "ROUTE",
    "RULES",
    "SETTINGS",
    "TRACE",
    "WORLD",
    "Drain",
]


PROBES: Final = frozenset({"/health/live", "/health/ready", "/metrics"})
"""What stands outside the gates: asked by machines of the cluster, over plain HTTP, keyless."""


@dataclass(slots=True)
class Drain:
    """Whether this process is on its way out; it never comes back."""

    has_begun: bool = False


WORLD: Final[web.AppKey["World"]] = web.AppKey("WORLD")
SETTINGS: Final[web.AppKey[Settings]] = web.AppKey("SETTINGS", Settings)
RULES: Final[web.AppKey[tuple[Rule, ...]]] = web.AppKey("RULES")
METRICS: Final[web.AppKey[Metrics]] = web.AppKey("METRICS", Metrics)

ROUTE: Final[web.RequestKey[Route]] = web.RequestKey("ROUTE", Route)
PRINCIPAL: Final[web.RequestKey[Principal]] = web.RequestKey("PRINCIPAL", Principal)
CLAIM: Final[web.RequestKey[Claim]] = web.RequestKey("CLAIM", Claim)
DOCUMENT: Final[web.RequestKey[object]] = web.RequestKey("DOCUMENT", object)
# What the rate limit found; the answer tells it to the client, whoever makes that answer.
QUOTA_STATES: Final[web.RequestKey[tuple[QuotaState, ...]]] = web.RequestKey("QUOTA_STATES")
# The limit on the whole request; whoever waits for the client instead of for us pauses it.
DEADLINE: Final[web.RequestKey[Deadline]] = web.RequestKey("DEADLINE", Deadline)

# What kept us from serving a request, as its log line may tell it.
FAULT: Final[web.RequestKey[str]] = web.RequestKey("FAULT", str)

# The decision behind a problem, so that nobody has to read it back out of the rendered body.
REFUSED: Final[web.ResponseKey[Refused]] = web.ResponseKey("REFUSED", Refused)
