"""What a process shows at `/metrics`, read strictly, and the names that each process has to show.

Must not know how a process is started.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0"
EVERY_PROCESS: Final = frozenset(
    {
        "fluxpay_build_info",
        "fluxpay_event_loop_lag_seconds",
        "fluxpay_log_lines_dropped",
        "process_cpu_seconds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "python_info",
    }
)
SERVICE: Final = EVERY_PROCESS | {
    "http_server_request_duration_seconds",
    "http_server_active_requests",
    "db_client_operation_duration_seconds",
    "db_client_connections",
    "db_client_connection_max",
    "db_client_connection_pending_requests",
    "db_client_connection_timeouts",
    "fluxpay_commit_batch_size",
    "fluxpay_commit_duration_seconds",
    "fluxpay_commit_queue_depth",
    "fluxpay_redis_pipeline_size",
    "fluxpay_redis_queue_depth",
    "fluxpay_redis_lost",
    "fluxpay_key_cache",
    "fluxpay_key_cache_entries",
    "fluxpay_degraded",
    "fluxpay_payments",
    "fluxpay_idempotency",
    "fluxpay_rate_limited",
    "fluxpay_fraud_rejections",
    "fluxpay_tenant_requests",
    "fluxpay_spans",
}
WORKER_ALONE: Final = frozenset(
    {
        "fluxpay_worker_rounds",
        "fluxpay_worker_round_duration_seconds",
        "fluxpay_worker_items",
        "fluxpay_worker_last_success_timestamp_seconds",
        "fluxpay_outbox_oldest_age_seconds",
        "fluxpay_checkpoint_lag_transfers",
        "fluxpay_ledger_imbalance_minor",
        "fluxpay_verify_findings",
        "fluxpay_verify_last_success_timestamp_seconds",
        "fluxpay_verify_interval_seconds",
    }
)
WORKER: Final = EVERY_PROCESS | WORKER_ALONE | {"fluxpay_degraded"}
OPERATOR: Final = EVERY_PROCESS | {
    "fluxpay_operator_reconcile",
    "fluxpay_operator_reconcile_duration_seconds",
    "fluxpay_operator_tenants",
    "fluxpay_operator_key_expiry_timestamp_seconds",
    "fluxpay_operator_key_rotation_timestamp_seconds",
    "fluxpay_operator_leader",
    "fluxpay_operator_queue_depth",
    "fluxpay_operator_last_success_timestamp_seconds",
    "fluxpay_operator_admin_requests",
}
# Prometheus gives these to what it scrapes, or keeps them for itself.
RESERVED: Final = frozenset({"job", "instance", "le", "quantile"})
# A key's own namespace was a label before; Prometheus shows it as `exported_namespace`.
NAMESPACED: Final = frozenset(
    {
        "fluxpay_operator_key_expiry_timestamp_seconds",
        "fluxpay_operator_key_rotation_timestamp_seconds",
    }
)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of metrics: families by name, a counter's without `_total`."""

    families: Mapping[str, Any]

    def value(self, name: str, **labels: str) -> float:
        """The value of the one sample with this name and these labels among its own."""
        (found,) = (
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )
        return float(found)

    def series(self) -> int:
        """How many time series the page makes."""
        return sum(len(family.samples) for family in self.families.values())


async def page(url: str, *, accept: str = OPENMETRICS) -> Page:
    """Fetch a page, and find nothing wrong with it."""
    headers = {"Accept": accept}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/metrics", headers=headers) as answer,
    ):
        assert 200 == answer.status
        text = await answer.text()
        kind = answer.headers["Content-Type"]
    assert kind.startswith(accept.partition(";")[0])
    return read(text, is_openmetrics=accept == OPENMETRICS)


def read(text: str, *, is_openmetrics: bool) -> Page:
    """Read a page as strictly as its format has it."""
    parse: Any = openmetrics if is_openmetrics else plain
    found = list(parse(text))
    names = [family.name for family in found]
    assert len(names) == len(set(names))
    for family in found:
        assert family.documentation.endswith(".") or not family.name.startswith("fluxpay")
        labels = [frozenset(sample.labels.items()) for sample in family.samples]
        assert len(labels) == len(
            {(sample.name, one) for sample, one in zip(family.samples, labels, strict=True)}
        )
        own = {label for sample in family.samples for label in sample.labels}
        kept = RESERVED - ({"le"} if family.type == "histogram" else set())
        assert set() == own & kept, family.name
        if family.name not in NAMESPACED:
            assert "namespace" not in own
    return Page({family.name: family for family in found})
