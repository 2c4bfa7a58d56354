"""What this process counts about itself, for Prometheus to fetch.

Knows names, labels and buckets. Labels are bounded by construction: route templates, methods
of the standard, currencies of ISO 4217, rule names; never a tenant, never what a client sent.

Must not know what anything measured is for. Source: OpenTelemetry semantic conventions for the
name of the request histogram.
"""

import platform
from time import perf_counter
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import choose_encoder

from fluxpay import __version__
from fluxpay.core.money import EXPONENTS
from fluxpay.web.instruments import Counts, Distribution

UNMATCHED: Final = "unmatched"
OTHER: Final = "_OTHER"
UNKNOWN_CURRENCY: Final = "unknown"

_METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
)
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCH_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """All instruments of one process, in a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._effects = Distribution(
            registry,
            "fluxpay_effect_duration_seconds",
            "How long the world took to answer an effect of the core.",
            labels=["effect"],
            bounds=(0.0001, 0.00025, 0.0005, *_SECONDS),
        )
        self._requests = Distribution(
            registry,
            "http_server_request_duration_seconds",
            "From a request's head to the last byte of its answer.",
            labels=["http_route", "http_request_method", "http_response_status_code"],
            bounds=_SECONDS,
        )
        self._batch_size = Distribution(
            registry,
            "fluxpay_commit_batch_size",
            "How many payments one commit took.",
            bounds=_BATCH_SIZES,
        )
        self._payments = Counts(
            registry,
            "fluxpay_payments",
            "Requests for a payment, by how they ended.",
            ["outcome", "currency"],
        )
        self._idempotency = Counts(
            registry, "fluxpay_idempotency", "Claims, by what came of them.", ["result"]
        )
        self._rate_limited = Counts(
            registry, "fluxpay_rate_limited", "Requests over a quota.", ["route"]
        )
        self._fraud = Counts(
            registry, "fluxpay_fraud_rejections", "Payments that a fraud rule rejected.", ["rule"]
        )
        self._degraded = Gauge(
            "fluxpay_degraded",
            "1 while a dependency is gone and something stands in for it.",
            ["dependency"],
            registry=registry,
        )
        # A dashboard needs the 0 as much as the 1.
        self.degraded("redis", is_degraded=False)
        _state_build(registry)

    def answered(self, *, route: str, method: str, status: int, started_s: float) -> None:
        """Count one request, by the template of its route."""
        labels = (route, method_label(method), str(status))
        self._requests.observe(labels, perf_counter() - started_s)

    def effect_answered(self, effect: type[object], elapsed_s: float) -> None:
        """Count one effect of the core."""
        self._effects.observe((effect.__name__,), elapsed_s)

    def payment_ended(self, outcome: str, currency: object) -> None:
        """Count one request for a payment; the currency is whatever the client wrote."""
        is_known = isinstance(currency, str) and currency in EXPONENTS
        self._payments.count(outcome, str(currency) if is_known else UNKNOWN_CURRENCY)

    def claim_ended(self, result: str) -> None:
        """Count one idempotency claim."""
        self._idempotency.count(result)

    def rate_limited(self, route: str) -> None:
        """Count one throttled request."""
        self._rate_limited.count(route)

    def fraud_rejected(self, rule: str) -> None:
        """Count one payment that this rule rejected."""
        self._fraud.count(rule)

    def batch_committed(self, size: int) -> None:
        """Count one commit of so many payments."""
        self._batch_size.observe((), size)

    def degraded(self, dependency: str, *, is_degraded: bool) -> None:
        """Say whether a dependency is gone."""
        self._degraded.labels(dependency).set(1 if is_degraded else 0)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Write everything down: the text and its content type, OpenMetrics where asked for."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


def method_label(method: str) -> str:
    """Give a method of the standard as it is, and one name for all that a client makes up."""
    return method if method in _METHODS else OTHER


def _state_build(registry: CollectorRegistry) -> None:
    build = Gauge(
        "fluxpay_build_info",
        "1, labelled with what is running.",
        ["version", "python_version"],
        registry=registry,
    )
    build.labels(__version__, platform.python_version()).set(1)


PROCESS: Final = Metrics()
"""The instruments of this process. The driver and the stores measure here as well."""
