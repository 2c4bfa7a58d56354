"""What this process counts about itself, for Prometheus to fetch.

Knows names, labels and buckets, and keeps every child it has made: finding one again costs half
as much as the rest of a measurement. Labels are bounded by construction: route templates, methods
of the standard, currencies of ISO 4217, rule names; never a tenant, never what a client sent.

Must not know what anything measured is for. Source: OpenTelemetry semantic conventions for the
name of the request histogram.
"""

import platform
from bisect import bisect_left
from collections.abc import Iterator
from time import perf_counter
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from fluxpay import __version__
from fluxpay.core.money import EXPONENTS

UNMATCHED: Final = "unmatched"
OTHER: Final = "_OTHER"
UNKNOWN_CURRENCY: Final = "unknown"

_METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
)
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCH_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class EffectTimings(Collector):
    """How long the effects of the core take, by kind.

    The histogram of the client library takes two locks and 2 µs an observation, and a payment
    has five effects. All of them run on one loop, so plain integers do.
    """

    _BOUNDS: Final = (0.0001, 0.00025, 0.0005, *_SECONDS)

    def __init__(self) -> None:
        self._cells: dict[type[object], list[int]] = {}
        self._sums_s: dict[type[object], float] = {}

    def record(self, effect: type[object], elapsed_s: float) -> None:
        """Count one effect."""
        cells = self._cells.get(effect)
        if cells is None:
            cells = self._cells[effect] = [0] * (len(self._BOUNDS) + 1)
            self._sums_s[effect] = 0.0
        cells[bisect_left(self._BOUNDS, elapsed_s)] += 1
        self._sums_s[effect] += elapsed_s

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Hand the counts to a registry."""
        family = HistogramMetricFamily(
            "fluxpay_effect_duration_seconds",
            "How long the world took to answer an effect of the core.",
            labels=["effect"],
        )
        for effect, cells in self._cells.items():
            buckets: list[tuple[str, float]] = []
            total = 0
            for bound, count in zip((*self._BOUNDS, float("inf")), cells, strict=True):
                total += count
                buckets.append(("+Inf" if bound == float("inf") else repr(bound), total))
            family.add_metric([effect.__name__], buckets=buckets, sum_value=self._sums_s[effect])
        yield family


class Metrics:
    """All instruments of one process, in a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.effects = EffectTimings()
        registry.register(self.effects)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._requests = Histogram(
            "http_server_request_duration_seconds",
            "From a request's head to the last byte of its answer.",
            ["http_route", "http_request_method", "http_response_status_code"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._request_children: dict[tuple[str, str, int], Histogram] = {}
        self._batch_size = Histogram(
            "fluxpay_commit_batch_size",
            "How many payments one commit took.",
            buckets=_BATCH_SIZES,
            registry=registry,
        )
        self._payments = Counters(
            registry,
            "fluxpay_payments",
            "Requests for a payment, by how they ended.",
            ["outcome", "currency"],
        )
        self._idempotency = Counters(
            registry, "fluxpay_idempotency", "Claims, by what came of them.", ["result"]
        )
        self._rate_limited = Counters(
            registry, "fluxpay_rate_limited", "Requests over a quota.", ["route"]
        )
        self._fraud = Counters(
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
        key = (route, method if method in _METHODS else OTHER, status)
        child = self._request_children.get(key)
        if child is None:
            labels = (key[0], key[1], str(status))
            child = self._request_children[key] = self._requests.labels(*labels)
        child.observe(perf_counter() - started_s)

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
        self._batch_size.observe(size)

    def degraded(self, dependency: str, *, is_degraded: bool) -> None:
        """Say whether a dependency is gone."""
        self._degraded.labels(dependency).set(1 if is_degraded else 0)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Write everything down: the text and its content type, OpenMetrics where asked for."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


class Counters:
    """One counter and its children, each found again by a plain look-up."""

    def __init__(
        self, registry: CollectorRegistry, name: str, documentation: str, labels: list[str]
    ) -> None:
        self._counter = Counter(name, documentation, labels, registry=registry)
        self._children: dict[tuple[str, ...], Counter] = {}

    def count(self, *labels: str) -> None:
        """Count one."""
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._counter.labels(*labels)
        child.inc()


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
