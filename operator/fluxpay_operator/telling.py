"""Tell people how their tenant stands: by its status, by Events and by metrics.

Writes only what is not so already. An Event that cannot be recorded is no failure of the tenant.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fluxpay.observability import errors, logs
from fluxpay_operator import kube
from fluxpay_operator.carrying_out import News
from fluxpay_operator.conditions import TRUE, flips, whole_s
from fluxpay_operator.kube import KubeRefused, KubeUnavailable
from fluxpay_operator.reports import Report, next_status, status_of
from fluxpay_operator.status import ConditionType, Status
from fluxpay_operator.work_queue import Key

if TYPE_CHECKING:
    from fluxpay_operator.kube import Document, Kube
    from fluxpay_operator.metrics import Metrics

_LOG: Final = logs.logger("fluxpay.operator")
_MESSAGE_CHARS_MAX: Final = 1024


class Teller:
    """Writes statuses and Events."""

    def __init__(self, client: Kube, metrics: Metrics, *, now: Callable[[], datetime]) -> None:
        self._kube = client
        self._metrics = metrics
        self._now = now

    async def tell(
        self,
        resource: Document,
        report: Report,
        news: Iterable[News] = (),
        *,
        only_as_read: bool = False,
    ) -> bool:
        """Bring the status up to date, and tell the news; answers whether the status was written.

        Args:
            only_as_read: Whether to leave the status alone if the resource has changed since.

        Raises: KubeUnavailable, KubeRefused.
        """
        previous = status_of(resource)
        status = next_status(report, previous, now=self._now())
        key = Key(*kube.names(resource))
        self._metrics.tenants.tell(key, status)
        is_new = status != previous
        if is_new:
            wanted = msgspec.to_builtins(status)
            # A merge patch keeps what it does not name.
            gone = {name: None for name in resource.get("status") or {} if name not in wanted}
            await self._kube.write_status(resource, {**gone, **wanted}, only_as_read=only_as_read)
        await self.post(resource, [*news, *_flipped(previous, status)])
        return is_new

    async def post(self, resource: Document, news: Iterable[News]) -> None:
        """Record Events about a resource."""
        for one in news:
            level = logging.WARNING if one.is_warning else logging.INFO
            about = Key(*kube.names(resource)).members
            _LOG.log(level, "tenant_news", reason=one.reason, message=one.message, **about)
            try:
                await self._kube.post_event(_event(resource, one, now=self._now()))
            except (KubeUnavailable, KubeRefused) as error:
                _LOG.warning("event_unrecorded", error=errors.told(error), **about)

    def forget(self, key: Key) -> None:
        """Count a tenant no longer."""
        self._metrics.tenants.forget(key)


def _flipped(previous: Status, status: Status) -> Iterable[News]:
    for one in flips(previous, status.conditions):
        if one.type is not ConditionType.DEGRADED:
            continue
        if one.status is TRUE:
            yield News(one.reason, one.message, is_warning=True)
        elif previous.conditions:
            yield News("Recovered", "Nothing is wrong any more.")


def _event(resource: Document, news: News, *, now: datetime) -> Document:
    metadata: dict[str, Any] = resource["metadata"]
    instant = whole_s(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "namespace": metadata["namespace"],
            "generateName": f"{metadata['name']}.",
        },
        "involvedObject": {
            "apiVersion": resource["apiVersion"],
            "kind": resource["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "type": "Warning" if news.is_warning else "Normal",
        "reason": news.reason,
        "message": news.message[:_MESSAGE_CHARS_MAX],
        "source": {"component": kube.FIELD_MANAGER},
        "reportingComponent": kube.FIELD_MANAGER,
        "reportingInstance": socket.gethostname(),
        "firstTimestamp": instant,
        "lastTimestamp": instant,
        "count": 1,
    }
