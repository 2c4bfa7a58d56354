"""What this process counts about itself, for Prometheus to fetch.

Knows names, labels and buckets. Labels are bounded by construction: route templates, methods
of the standard, currencies of ISO 4217, rule names; never what a client sent. Tenants are told
apart in one counter alone, and there only so many of them.

Must not know what anything measured is for. Source: OpenTelemetry semantic conventions 1.37 for the
names of requests, database operations and connections.
"""

from __future__ import annotations

from asyncio import CancelledError
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from fluxpay.core.effects import FindApiKey, Unavailable
from fluxpay.core.money import EXPONENTS
from fluxpay.observability.bounded_counts import BoundedCounts
from fluxpay.observability.exposition import LoopLag, exposition, new_registry
from fluxpay.observability.instruments import Counts, Distribution, Readings
from fluxpay.observability.spans import spans_counted
from fluxpay.stores.problems import StoreError
from fluxpay.web.origins import FROM_REDIS, TABLES
from fluxpay.web.store_telemetry import StoreReadings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fluxpay.core.effects import Effect
    from fluxpay.observability.instruments import Labels

UNMATCHED: Final = "unmatched"
OTHER: Final = "_OTHER"
UNKNOWN_CURRENCY: Final = "unknown"
TENANTS_MAX: Final = 200
"""How many tenants the one metric that names them tells apart."""
TENANT_RESULTS: Final = ("ok", "throttled", "fraud_rejected", "refused", "failed")
CLAIM_RESULTS: Final = (
    "new",
    "replayed_cache",
    "replayed_database",
    "mismatch",
    "expired",
    "in_flight",
)

_POSTGRES: Final = "postgresql"
_REDIS: Final = "redis"
_TENANT_SILENCE_S_MAX: Final = 3600.0
_METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
)
# 0.3 is what an answer may take by the objective: without a bound there it could not be measured.
_REQUESTS_S: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0),
)
_OPERATIONS_S: Final = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


def known_method(method: str) -> str:
    """Give a method of the standard as it is, and one word for all that clients make up."""
    return method if method in _METHODS else OTHER


def _kind(error: BaseException) -> str:
    """The name of what went wrong, one of few: a store's own, a cancellation, or any other."""
    is_known = isinstance(error, StoreError | CancelledError)
    return type(error).__name__ if is_known else OTHER


class Metrics:
    """All instruments of one process, in a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = new_registry()
        self.loop_lag = LoopLag(registry)
        self.stores = StoreReadings(registry)
        self._answering: Callable[[], int] = lambda: 0
        self._register_requests()
        self._register_operations()
        self._register_payments()

    def _register_requests(self) -> None:
        registry = self.registry
        self._requests = Distribution(
            registry,
            "http_server_request_duration_seconds",
            "From a request's head to the last byte of its answer.",
            labels=["http_route", "http_request_method", "http_response_status_code"],
            bounds=_REQUESTS_S,
        )
        Readings(
            registry,
            "http_server_active_requests",
            "Requests on the API port that are being answered.",
            read=lambda: {(): self._answering()},
        )
        self._tenants = BoundedCounts(
            registry,
            "fluxpay_tenant_requests",
            "Requests of a tenant on the API port, by how they ended.",
            labels=("tenant_id", "result"),
            results=TENANT_RESULTS,
            owners_max=TENANTS_MAX,
            silence_s_max=_TENANT_SILENCE_S_MAX,
        )
        self._rate_limited = Counts(
            registry, "fluxpay_rate_limited", "Requests over a quota.", ["route"]
        )
        Readings(
            registry,
            "fluxpay_spans",
            "Spans that were recorded, by what became of them.",
            ["result"],
            read=lambda: {(result,): count for result, count in spans_counted().items()},
            is_counter=True,
        )

    def _register_operations(self) -> None:
        registry = self.registry
        # One tuple for each effect, so that a request makes none. A key is looked up in memory
        # first: that look-up is measured behind the cache, where Postgres is asked.
        self._labels_of: dict[type[Effect[Any]], Labels] = {
            **{effect: (_REDIS, effect.__name__, "") for effect in FROM_REDIS},
            **{effect: (_POSTGRES, effect.__name__, "") for effect in TABLES},
        }
        del self._labels_of[FindApiKey]
        self._operations = Distribution(
            registry,
            "db_client_operation_duration_seconds",
            "How long a database took to answer an effect of the core.",
            labels=["db_system_name", "db_operation_name", "error_type"],
            bounds=_OPERATIONS_S,
        )
        self._batch_size = Distribution(
            registry,
            "fluxpay_commit_batch_size",
            "How many payments one commit took.",
            bounds=_SIZES,
        )
        self._commits = Distribution(
            registry,
            "fluxpay_commit_duration_seconds",
            "How long a commit of payments took, repeats after a lost reply included.",
            bounds=_OPERATIONS_S,
        )
        self._pipeline_size = Distribution(
            registry,
            "fluxpay_redis_pipeline_size",
            "How many commands travelled to Redis together.",
            bounds=_SIZES,
        )

    def _register_payments(self) -> None:
        registry = self.registry
        self._payments = Counts(
            registry,
            "fluxpay_payments",
            "Requests for a payment, by how they ended.",
            ["outcome", "currency"],
        )
        self._idempotency = Counts(
            registry,
            "fluxpay_idempotency",
            "Claims, by what came of them.",
            ["result"],
            known=[(result,) for result in CLAIM_RESULTS],
        )
        self._fraud = Counts(
            registry, "fluxpay_fraud_rejections", "Payments that a fraud rule rejected.", ["rule"]
        )

    def answered(
        self, *, route: str, method: str, status: int, started_s: float, exemplar: str | None
    ) -> None:
        """Count one request, by the template of its route.

        Args:
            exemplar: The id of its trace, if spans of that are recorded.
        """
        labels = (route, known_method(method), str(status))
        self._requests.observe(labels, perf_counter() - started_s, exemplar)

    def expect_answers(self, *, route: str, method: str, statuses: Iterable[int]) -> None:
        """Show these answers of a route as ones that were never given, as long as that is so."""
        for status in statuses:
            self._requests.expect(route, method, str(status))

    def tenant_answered(self, tenant_id: str, result: str) -> None:
        """Count one request of a tenant."""
        self._tenants.count(tenant_id, result)

    def effect_answered(
        self, effect: type[Effect[Any]], elapsed_s: float, answer: object = None
    ) -> None:
        """Count one effect of the core; that a database is not there may be an answer."""
        labels = self._labels_of.get(effect)
        if labels is not None:
            if type(answer) is Unavailable:
                labels = (*labels[:2], Unavailable.__name__)
            self._operations.observe(labels, elapsed_s)

    def effect_failed(
        self, effect: type[Effect[Any]], elapsed_s: float, error: BaseException
    ) -> None:
        """Count one effect that the world could not answer."""
        labels = self._labels_of.get(effect)
        if labels is not None:
            self._operations.observe((*labels[:2], _kind(error)), elapsed_s)

    def key_looked_up(self, elapsed_s: float, error: BaseException | None) -> None:
        """Count one look-up of a key that memory could not answer."""
        failed = "" if error is None else _kind(error)
        self._operations.observe((_POSTGRES, FindApiKey.__name__, failed), elapsed_s)

    def payment_ended(self, outcome: str, currency: object) -> None:
        """Count one request for a payment; the currency is whatever the client wrote."""
        is_known = isinstance(currency, str) and currency in EXPONENTS
        self._payments.count(outcome, str(currency) if is_known else UNKNOWN_CURRENCY)

    def claim_ended(self, result: str) -> None:
        """Count one idempotency claim."""
        self._idempotency.count(result)

    def expect_limits(self, route: str) -> None:
        """Show this route as one that was never over a quota, as long as that is so."""
        self._rate_limited.expect(route)

    def rate_limited(self, route: str) -> None:
        """Count one throttled request."""
        self._rate_limited.count(route)

    def expect_rule(self, rule: str) -> None:
        """Show this rule as one that rejected nothing, as long as that is so."""
        self._fraud.expect(rule)

    def fraud_rejected(self, rule: str) -> None:
        """Count one payment that this rule rejected."""
        self._fraud.count(rule)

    def batch_committed(self, size: int, elapsed_s: float) -> None:
        """Count one commit of so many payments, or one that failed."""
        self._batch_size.observe((), size)
        self._commits.observe((), elapsed_s)

    def pipeline_sent(self, size: int) -> None:
        """Count one pipeline of so many commands."""
        self._pipeline_size.observe((), size)

    def measure_requests(self, answering: Callable[[], int]) -> None:
        """Ask this for the number of requests that are being answered."""
        self._answering = answering

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Write everything down: the text and its content type, OpenMetrics where asked for."""
        return exposition(self.registry, accept)


PROCESS: Final = Metrics()
"""The instruments of this process. The driver and the stores measure here as well."""
