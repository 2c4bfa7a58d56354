"""A rolling restart under load, with the timings of the chart: no accepted request fails.

Two `fluxpay serve` run as the rendered pods say, behind a real proxy. One after the other is
replaced as Kubernetes would: the new pod becomes ready, the old one is taken out of the endpoints,
which the proxy learns late, and gets SIGTERM after its pause and SIGKILL after its grace period.
"""

from __future__ import annotations

import asyncio
import io
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import psycopg2
import pytest

from fluxpay.core.ids import IdKind, encode
from fluxpay.verify import Progress, report, verify
from tests.chart import envoy, helm
from tests.chart.kubelet import Container, Store, prepare
from tests.conftest import Database
from tests.e2e.serving import ADMIN_TOKEN, SCOPES
from tests.ports import free_port
from tests.web.certificates import write_certificate

CLIENTS: Final = 8
PAUSE_S: Final = 0.02

pytestmark = pytest.mark.timeout(300)


@dataclass(slots=True)
class Pod:
    """A running pod of the API."""

    container: Container
    process: asyncio.subprocess.Process
    grace_s: int

    @property
    def port(self) -> int:
        return self.container.ports[8080]

    @property
    def pause_s(self) -> int:
        seconds: int = self.container.spec["lifecycle"]["preStop"]["sleep"]["seconds"]
        return seconds

    async def terminate(self) -> int:
        """Stop it as the kubelet does; gives its exit code."""
        await asyncio.sleep(self.pause_s)
        self.process.terminate()
        try:
            async with asyncio.timeout(self.grace_s - self.pause_s):
                return await self.process.wait()
        except TimeoutError:
            self.process.kill()
            return await self.process.wait()


@dataclass(slots=True)
class Load:
    """Clients that pay through the proxy, each with one request at a time and no retry."""

    url: str
    api_key: str
    answers: Counter[object] = field(default_factory=Counter)
    paid: set[str] = field(default_factory=set)
    is_over: bool = False

    async def run(self) -> None:
        """Pay until told that it is over."""
        headers = {"Authorization": f"Bearer {self.api_key}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            await asyncio.gather(*(self._client(session) for _ in range(CLIENTS)))

    async def _client(self, session: aiohttp.ClientSession) -> None:
        while not self.is_over:
            try:
                async with session.post(
                    f"{self.url}/v1/payments",
                    json={"amount": 1250, "currency": "EUR"},
                    headers={"Idempotency-Key": uuid.uuid4().hex},
                ) as answer:
                    document = await answer.json(content_type=None)
                    self.answers[answer.status] += 1
                    if answer.status == 201:
                        self.paid.add(document["id"])
            except (aiohttp.ClientError, ValueError) as error:
                self.answers[type(error).__name__] += 1
            await asyncio.sleep(PAUSE_S)


def deployment() -> helm.Object:
    """What the chart says of the API."""
    spec: helm.Object = helm.one("default", "Deployment", "fluxpay-api")["spec"]
    return spec


@asynccontextmanager
async def cluster(database: Database, redis_url: str, folder: Path) -> AsyncIterator[Any]:
    """Pods can be started here; whatever still runs at the end is killed."""
    certificate, key = (path.read_text() for path in write_certificate(folder))
    store = Store(
        secrets={
            "fluxpay-database": {"url": database.app_url},
            "fluxpay-redis": {"url": redis_url},
            "fluxpay-admin": {"token": ADMIN_TOKEN},
            "fluxpay-tls": {"tls.crt": certificate, "tls.key": key, "ca.crt": certificate},
        },
        config_maps={
            "fluxpay-config": helm.one("default", "ConfigMap", "fluxpay-config")["data"],
        },
    )
    template = deployment()["template"]
    grace_s = template["spec"]["terminationGracePeriodSeconds"]
    started: list[Pod] = []

    async def start() -> Pod:
        place = folder / f"pod-{len(started)}"
        place.mkdir(mode=0o700)
        ports = {8080: free_port(), 8081: free_port()}
        container = prepare(template, "api", store, place, ports=ports)
        pod = Pod(container, await container.start(), grace_s)
        started.append(pod)
        await container.await_ready()
        return pod

    try:
        yield start
    finally:
        for pod in started:
            if pod.process.returncode is None:
                pod.process.kill()
                await pod.process.wait()


async def enroll(pod: Pod) -> str:
    """Make a tenant through the admin port of a pod; gives its key."""
    tenant_id = encode(IdKind.TENANT, uuid.uuid4().int)
    spec = {
        "generation": 1,
        "display_name": "Kiosk",
        "environment": "test",
        "state": "active",
        "currencies": ["EUR"],
        "rate_limits": [{"name": "default", "requests": 1_000_000, "window_s": 60}],
    }
    url = f"https://127.0.0.1:{pod.container.ports[8081]}/admin/v1/tenants/{tenant_id}"
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    connector = aiohttp.TCPConnector(ssl=False)
    async with aiohttp.ClientSession(
        headers=headers, raise_for_status=True, connector=connector
    ) as session:
        await (await session.put(url, json=spec)).read()
        wanted = {"name": "till", "scopes": SCOPES}
        async with session.post(f"{url}/keys", json=wanted) as answer:
            made: dict[str, str] = await answer.json()
    return made["api_key"]


async def test_no_accepted_request_fails_and_no_payment_is_lost_or_doubled(
    database: Database, redis_url: str, tmp_path: Path
) -> None:
    rolling = deployment()["strategy"]["rollingUpdate"]
    assert {"maxUnavailable": 0, "maxSurge": 1} == rolling
    async with cluster(database, redis_url, tmp_path) as start:
        serving = [await start(), await start()]
        ports = [pod.port for pod in serving]
        async with envoy.running(tmp_path, port=free_port(), ports=ports) as proxy:
            load = Load(proxy.url, await enroll(serving[0]))
            paying = asyncio.create_task(load.run())
            for old in tuple(serving):
                serving.append(await start())
                proxy.lead_to([pod.port for pod in serving])
                serving.remove(old)
                ended = asyncio.create_task(old.terminate())
                # The proxy learns of it when half of the pause is over.
                await asyncio.sleep(old.pause_s / 2)
                proxy.lead_to([pod.port for pod in serving])
                assert 0 == await ended
            load.is_over = True
            await paying
    assert {201: len(load.paid)} == dict(load.answers)
    assert len(load.paid) > 100
    assert load.paid == payments(database)
    said = io.StringIO()
    found = verify(database.app_url, tenant_id=None, expected={}, progress=Progress(said))
    assert report(found, said, as_json=False), said.getvalue()


def payments(database: Database) -> set[str]:
    with closing(psycopg2.connect(database.owner_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id FROM payments")
        found = [row[0] for row in cursor.fetchall()]
    assert len(found) == len(set(found))
    return set(found)
