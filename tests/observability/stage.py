"""Everything that is watched: the stores behind proxies, API, worker, operator, a collector.

Knows how each is started and where its metrics are. Must not know what is asked of them, or what
Prometheus makes of it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg2
from aiohttp import web

from fluxpay.embedded.postgres import DATABASE, SOCKET, EmbeddedPostgres
from fluxpay.embedded.valkey import EmbeddedValkey
from fluxpay.stores.migrations import migrate
from tests.cluster.conftest import DEFINITIONS
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import Kubectl
from tests.cluster.operating import Operator, launch_for, prepare
from tests.cluster.shop import Shop, key
from tests.conftest import Database
from tests.e2e.serving import Service, serving
from tests.faults.proxy import FaultProxy
from tests.worker.processes import working

SHOPS_NAMESPACE: Final = "shops"
# So that in a short time as much happens as in a day.
HASTE: Final = {"FLUXPAY_VERIFY_INTERVAL_S": "60", "FLUXPAY_OPERATOR_RESYNC_S": "10"}
PUBLISHED_S_MAX: Final = 30


@dataclass(frozen=True, slots=True)
class Stage:
    """All that runs.

    Args:
        targets: Where metrics are, `host:port` by the name of the job.
    """

    postgres: FaultProxy
    redis: FaultProxy
    service: Service
    operator: Operator
    shops: Kubectl
    targets: dict[str, str]

    def shop(self, name: str) -> Shop:
        """A tenant as a resource."""
        return Shop(self.shops, self.service, name)


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """Start it all for the length of a block."""
    async with AsyncExitStack() as stack:
        # First, since it keeps this process busy, and with it whatever a proxy carries.
        shops, plane = stack.enter_context(_cluster(folder))
        database, postgres = await _postgres(stack, folder)
        valkey = EmbeddedValkey.start(folder / "valkey")
        stack.callback(valkey.stop)
        redis = await stack.enter_async_context(FaultProxy(valkey.socket_path))
        redis_url = f"redis://{redis.host}:{redis.port}"
        tracing = await stack.enter_async_context(_collecting())
        log = stack.enter_context((folder / "processes.log").open("wb"))
        service = await stack.enter_async_context(
            serving(database, redis_url, stderr=log.fileno(), **tracing)
        )
        hasty: dict[str, Any] = {**HASTE, **tracing}
        worker = await stack.enter_async_context(
            working(database, stderr=log.fileno(), FLUXPAY_WORKER_HOST="127.0.0.1", **hasty)
        )
        launch = launch_for(prepare(plane, shops, folder), service, **hasty)
        operator = await stack.enter_async_context(launch.running())
        targets = {
            "fluxpay-api": urlsplit(service.admin_url).netloc,
            "fluxpay-worker": urlsplit(worker.url).netloc,
            "fluxpay-operator": urlsplit(operator.url).netloc,
        }
        yield Stage(postgres, redis, service, operator, shops, targets)


async def bring_tenants(stage: Stage) -> None:
    """Some tenants as resources: usual ones, one whose key ends soon, one that is stalled."""
    rotating = key("till", expiresAfter="90d", rotation={"policy": "Automatic", "interval": "30d"})
    for name in ("bakery", "florist", "bookshop"):
        stage.shop(name).apply(rotating)
    stage.shop("kiosk").apply(key("till", expiresAfter="2d"))
    owner = stage.shop("bakery")
    await owner.becomes("Ready")
    stage.shop("thief").apply(tenantID=await owner.tenant_id())


async def _postgres(stack: AsyncExitStack, folder: Path) -> tuple[Database, FaultProxy]:
    server = EmbeddedPostgres.start(folder / "postgres")
    stack.callback(server.stop)
    owner_url = server.owner_url()
    migrate(owner_url, report=lambda _: None)
    with closing(psycopg2.connect(server.app_url())) as connection:
        role = connection.info.user
    proxy = await stack.enter_async_context(FaultProxy(server.sockets / SOCKET))
    app_url = f"postgresql://{role}@{proxy.host}:{proxy.port}/{DATABASE}?sslmode=disable"
    return Database(owner_url, app_url, DATABASE), proxy


@contextmanager
def _cluster(folder: Path) -> Iterator[tuple[Kubectl, ControlPlane]]:
    """A Kubernetes API that knows Tenants, and who may do everything in one namespace of it."""
    (folder / "plane").mkdir(mode=0o700)
    plane = ControlPlane.start(folder / "plane")
    try:
        admin = Kubectl(plane.admin_kubeconfig, "default")
        admin.run("apply", f"--filename={DEFINITIONS}")
        admin.run("wait", "crd/tenants.fluxpay.io", "--for=condition=Established")
        deadline_s = time.monotonic() + PUBLISHED_S_MAX
        while admin.ask("explain", "tenant.spec").code != 0 and time.monotonic() < deadline_s:
            time.sleep(0.1)
        admin.run("create", "namespace", SHOPS_NAMESPACE)
        admin.run("config", "set-context", "test", f"--namespace={SHOPS_NAMESPACE}")
        yield Kubectl(plane.admin_kubeconfig, SHOPS_NAMESPACE), plane
    finally:
        plane.stop()


@asynccontextmanager
async def _collecting() -> AsyncIterator[dict[str, str]]:
    """Something that takes spans and forgets them; gives what a process is told about it."""

    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{runner.addresses[0][1]}",
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.1",
            # Told at once, so that the last spans are counted too.
            "OTEL_BSP_SCHEDULE_DELAY": "500",
        }
    finally:
        await runner.cleanup()
