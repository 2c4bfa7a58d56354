"""The operator as a process: start, act while leading, end in time.

Knows signals, the order in which the parts begin and end, and which of them may end the process.
Must not know what a turn does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import chain
from typing import TYPE_CHECKING, Final

from kubernetes.aio.client.api_client import ApiClient

from fluxpay.observability import errors, logs, probes
from fluxpay.observability.spans import recording
from fluxpay.settings import BadSetting
from fluxpay.termination import listen
from fluxpay_operator import watching
from fluxpay_operator.admin_client import AdminClient
from fluxpay_operator.kube import (
    Kube,
    KubeRefused,
    KubeUnavailable,
    configuration,
    pod_namespace,
)
from fluxpay_operator.leadership import Leadership, new_identity
from fluxpay_operator.metrics import Metrics
from fluxpay_operator.reconciling import Reconciler
from fluxpay_operator.sights import Sights
from fluxpay_operator.vitals import Vitals
from fluxpay_operator.watching import Hearing
from fluxpay_operator.work_queue import Key, WorkQueue, spread

if TYPE_CHECKING:
    from kubernetes.aio.client.configuration import Configuration

    from fluxpay.observability.trace_settings import TraceSettings
    from fluxpay.settings import OperatorSettings

_LOG: Final = logs.logger("fluxpay.operator")
_LOOK_AGAIN_S: Final = 4.0
_GREETINGS_AT_ONCE: Final = 4


async def run(
    settings: OperatorSettings,
    *,
    traces: TraceSettings | None = None,
    on_ready: Callable[[str], None],
) -> None:
    """Act until SIGTERM or SIGINT; a second signal ends the process at once.

    Args:
        traces: Where spans go; None keeps none.
        on_ready: Is told where the probes answer, once the watches are under way.

    Raises: BadSetting when no cluster or no namespace for the Lease can be found.
    """
    logs.set_up(settings.log_level, settings.log_format)
    lease_namespace = settings.operator_lease_namespace or pod_namespace()
    if lease_namespace is None:
        raise BadSetting(
            "FLUXPAY_OPERATOR_LEASE_NAMESPACE", "is not set, and this is no pod; name a namespace"
        )
    cluster = await _cluster()
    metrics = Metrics()
    kube = Kube(ApiClient(cluster))
    admin = AdminClient(settings, on_called=metrics.admin_called)
    try:
        with metrics.loop_lag.measured():
            async with recording(traces):
                operator = _Operator(settings, cluster, kube, admin, metrics, lease_namespace)
                await operator.run(on_ready)
    finally:
        await admin.close()
        await kube.close()


class _Operator:
    """The parts, wired."""

    def __init__(
        self,
        settings: OperatorSettings,
        cluster: Configuration,
        kube: Kube,
        admin: AdminClient,
        metrics: Metrics,
        lease_namespace: str,
    ) -> None:
        monotonic_s = asyncio.get_running_loop().time
        self._settings = settings
        self._cluster = cluster
        self._kube = kube
        self._metrics = metrics
        self._queue = WorkQueue()
        self._sights = Sights(self._queue)
        self._hearing = Hearing(monotonic_s)
        self._leadership = Leadership(
            kube,
            namespace=lease_namespace,
            name=settings.operator_lease_name,
            identity=new_identity(),
            monotonic_s=monotonic_s,
        )
        self._vitals = Vitals(self._hearing, self._leadership, monotonic_s)
        self._reconciler = Reconciler(
            kube,
            admin,
            sights=self._sights,
            metrics=self._metrics,
            api_url=settings.operator_api_url,
            resync_s=settings.operator_resync_s,
        )
        self._metrics.measure_queue(lambda: self._queue.depth)

    async def run(self, on_ready: Callable[[str], None]) -> None:
        stop = asyncio.Event()
        listen(stop)
        probed = probes.answering(
            self._vitals,
            self._metrics.exposition,
            host=self._settings.operator_host,
            port=self._settings.operator_port,
        )
        async with probed as port:
            await self._until_readable(stop)
            if not stop.is_set():
                await self._watch_and_lead(stop, lambda: on_ready(f"http://127.0.0.1:{port}"))
        _LOG.info("stopped")

    async def _until_readable(self, stop: asyncio.Event) -> None:
        """Wait until there are tenants to watch: the definition may be on its way."""
        namespaces = self._settings.operator_namespaces or (None,)
        while not stop.is_set():
            try:
                if await see_all(self._kube, self._sights, namespaces):
                    return
                _LOG.warning("definition_missing", resource="tenants.fluxpay.io")
            except (KubeUnavailable, KubeRefused) as error:
                _LOG.warning("tenants_unreadable", error=errors.told(error))
            # Nothing has died: it is what we wait for that is not there.
            self._hearing.heard_all()
            self._leadership.tried_s = asyncio.get_running_loop().time()
            await _is_set_within(stop, spread(_LOOK_AGAIN_S))

    async def _watch_and_lead(self, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
        stop_watching = asyncio.Event()
        registry = watching.kopf_registry(self._sights, self._hearing, self._cluster)
        stopped = asyncio.ensure_future(stop.wait())
        watch = await watching.watch(
            registry, namespaces=self._settings.operator_namespaces, stop=stop_watching
        )
        # kopf has put its own handlers in place of ours.
        listen(stop)
        leading = asyncio.create_task(self._leadership.run(self._lead), name="leadership")
        self._vitals.has_started = True
        on_ready()
        try:
            await asyncio.wait([watch, leading, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            leading.cancel()
            await asyncio.wait([leading], timeout=self._settings.shutdown_timeout_s)
            stop_watching.set()
            await asyncio.wait([watch], timeout=self._settings.shutdown_timeout_s)
        for task in (watch, leading):
            if task.done() and not task.cancelled() and task.exception() is not None:
                await task

    async def _lead(self) -> None:
        """Act, until cancelled."""
        greetings = asyncio.Semaphore(_GREETINGS_AT_ONCE)
        self._metrics.leads(is_leader=True)
        try:
            async with asyncio.TaskGroup() as tasks:

                async def greet(key: Key) -> None:
                    async with greetings:
                        try:
                            await self._reconciler.greet(key)
                        except Exception:  # noqa: BLE001
                            # A greeting that fails must not end the turns of all tenants.
                            _LOG.exception("greeting_failed", **key.members)

                def begin(key: Key) -> None:
                    tasks.create_task(greet(key))

                self._sights.greet = begin
                self._sights.ask_for_all()
                await self._queue.work(
                    self._reconciler.reconcile, workers=self._settings.operator_workers
                )
        finally:
            self._sights.greet = lambda _: None
            self._metrics.leads(is_leader=False)


async def see_all(kube: Kube, sights: Sights, namespaces: Iterable[str | None]) -> bool:
    """See all tenants before the first turn; answers whether there can be any yet.

    The watches tell of one after the other: of two that claim one tenant the younger, met alone,
    would take it from the older.
    """
    found = [await kube.list_tenants(one) for one in namespaces]
    if None in found:
        return False
    for one in chain.from_iterable(filter(None, found)):
        sights.tenant(None, one)
    return True


async def _cluster() -> Configuration:
    try:
        return await configuration()
    except Exception as error:
        # The loaders raise whatever reading a file, YAML or a plugin may raise.
        raise BadSetting("KUBECONFIG", f"leads to no cluster ({error}); name a file") from error


async def _is_set_within(event: asyncio.Event, pause_s: float) -> bool:
    try:
        async with asyncio.timeout(pause_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
