"""Many tenants at once: `make scale [ARGS="--tenants 1000 --idle-s 600"]`.

Prints how long they take to become Ready, what is written while nothing changes and after a
restart, and the memory of the operator. The servers are real and on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import aiohttp
import psycopg2
from prometheus_client.parser import text_string_to_metric_families

from fluxpay.embedded.postgres import EmbeddedPostgres
from fluxpay.embedded.valkey import EmbeddedValkey
from fluxpay.stores.migrations import migrate
from tests.cluster.conftest import DEFINITIONS
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import Kubectl
from tests.cluster.operating import Launch, Operator, Site, launch_for, prepare
from tests.conftest import Database
from tests.e2e.serving import Service, serving

NAMESPACE: Final = "scale"
CREATORS: Final = 8
READS: Final = frozenset({"get", "list", "watch"})


def tenant(number: int) -> dict[str, Any]:
    """A manifest with one key, which expires and rotates by itself."""
    return {
        "apiVersion": "fluxpay.io/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": f"shop-{number}"},
        "spec": {
            "displayName": f"Shop {number}",
            "environment": "test",
            "currencies": ["EUR"],
            "rateLimits": [{"name": "default", "requests": 600, "window": "60s"}],
            "apiKeys": [
                {
                    "name": "till",
                    "scopes": ["payments:write"],
                    "expiresAfter": "90d",
                    "rotation": {"policy": "Automatic", "interval": "30d", "overlap": "1d"},
                }
            ],
        },
    }


class Cluster:
    """The API server, asked without the price of a kubectl each time."""

    def __init__(self, plane: ControlPlane, session: aiohttp.ClientSession) -> None:
        self._session = session
        root = f"{plane.endpoint.url}/apis/fluxpay.io/v1alpha1"
        self._url = f"{root}/namespaces/{NAMESPACE}/tenants"

    async def create(self, count: int) -> None:
        """Create the tenants, several at a time."""
        numbers = iter(range(count))

        async def creator() -> None:
            for number in numbers:
                async with self._session.post(self._url, json=tenant(number)) as answer:
                    assert answer.status == 201, await answer.text()

        await asyncio.gather(*(creator() for _ in range(CREATORS)))

    async def ready(self) -> int:
        """Count those that are Ready."""
        async with self._session.get(self._url, params={"resourceVersion": "0"}) as answer:
            found = await answer.json()
        return sum(
            any(
                one["type"] == "Ready" and one["status"] == "True"
                for one in item.get("status", {}).get("conditions", ())
            )
            for item in found["items"]
        )


async def admin_writes(service: Service) -> int:
    """Count the writes that the admin API has answered."""
    url = f"{service.admin_url}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        text = await answer.text()
    return sum(
        int(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "http_server_request_duration_seconds_count"
        and sample.labels["http_request_method"] in {"DELETE", "POST", "PUT"}
    )


def writes(site: Site, start: int) -> dict[str, int]:
    """Count the writes to Kubernetes since a point of the audit log, but for the Lease."""
    counts: dict[str, int] = {}
    for one in site.plane.requests(user=site.user, start=start):
        if one.verb not in READS and one.resource != "leases":
            what = f"{one.verb} {one.resource}"
            counts[what] = counts.get(what, 0) + 1
    return counts


def memory_mb(operator: Operator, field: str) -> int:
    """Read the memory of the process: `VmRSS` now, `VmHWM` at most."""
    status = Path(f"/proc/{operator.process.pid}/status").read_text(encoding="ascii")
    (line,) = (one for one in status.splitlines() if one.startswith(f"{field}:"))
    return int(line.split()[1]) // 1024


async def settled(cluster: Cluster, count: int, *, patience_s: float) -> float:
    """Wait until all are Ready; gives how long that took."""
    begun_s = time.monotonic()
    while (ready := await cluster.ready()) < count:
        taken_s = time.monotonic() - begun_s
        sys.stderr.write(f"  {taken_s:5.1f} s: {ready} of {count} are Ready\n")
        assert taken_s < patience_s, "they do not become Ready"
        await asyncio.sleep(2)
    return time.monotonic() - begun_s


async def measure(site: Site, launch: Launch, service: Service, options: Any) -> dict[str, Any]:
    """Create, wait, idle, restart; gives the figures."""
    trusting = ssl.create_default_context(cafile=site.plane.endpoint.authority)
    headers = {"Authorization": f"Bearer {site.plane.admin_token}"}
    told: dict[str, Any] = {"tenants": options.tenants}
    connector = aiohttp.TCPConnector(ssl=trusting)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        cluster = Cluster(site.plane, session)
        async with launch.running() as operator:
            begun_s = time.monotonic()
            creating = asyncio.create_task(cluster.create(options.tenants))
            await settled(cluster, options.tenants, patience_s=600)
            told["ready_s"] = round(time.monotonic() - begun_s, 1)
            await creating
            await asyncio.sleep(5)
            start, registered = site.plane.audit_log.stat().st_size, await admin_writes(service)
            before = await turns_of(operator)
            await asyncio.sleep(options.idle_s)
            after = await turns_of(operator)
            told["idle_turns"] = {name: after[name] - before.get(name, 0) for name in after}
            told["idle_s"] = options.idle_s
            told["idle_writes"] = writes(site, start)
            told["idle_admin_writes"] = await admin_writes(service) - registered
            told["rss_mb"] = memory_mb(operator, "VmRSS")
            told["rss_mb_max"] = memory_mb(operator, "VmHWM")
            await operator.stop()
        start, registered = site.plane.audit_log.stat().st_size, await admin_writes(service)
        async with launch.running() as operator:
            told["restart_turns"] = await all_looked_at(operator, options.tenants)
            told["restart_writes"] = writes(site, start)
            told["restart_admin_writes"] = await admin_writes(service) - registered
            told["restart_rss_mb_max"] = memory_mb(operator, "VmHWM")
    return told


async def all_looked_at(operator: Operator, count: int) -> dict[str, int]:
    """Wait until every tenant has had a turn; gives the turns by their result."""
    deadline_s = time.monotonic() + 300
    while True:
        turns = await turns_of(operator)
        if sum(turns.values()) >= count:
            return turns
        assert time.monotonic() < deadline_s, turns
        await asyncio.sleep(1)


async def turns_of(operator: Operator) -> dict[str, int]:
    """Count the turns that the operator has had, by their result."""
    return {
        sample.labels["result"]: int(sample.value)
        for family in text_string_to_metric_families(await operator.metrics())
        for sample in family.samples
        if sample.name == "fluxpay_operator_reconcile_total" and sample.value
    }


async def run(options: Any) -> dict[str, Any]:
    """Start the servers, measure, and end them."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgres = EmbeddedPostgres.start(folder / "postgres")
        stack.callback(postgres.stop)
        valkey = EmbeddedValkey.start(folder / "valkey")
        stack.callback(valkey.stop)
        (folder / "plane").mkdir(mode=0o700)
        plane = ControlPlane.start(folder / "plane")
        stack.callback(plane.stop)
        connection = psycopg2.connect(postgres.owner_url("postgres"))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE scale")
        connection.close()
        database = Database(postgres.owner_url("scale"), postgres.app_url("scale"), "scale")
        migrate(database.owner_url, report=lambda _: None)
        admin = Kubectl(plane.admin_kubeconfig, "default")
        admin.run("apply", f"--filename={DEFINITIONS}")
        admin.run("wait", "crd/tenants.fluxpay.io", "--for=condition=Established")
        admin.run("create", "namespace", NAMESPACE)
        admin.run("config", "set-context", "test", f"--namespace={NAMESPACE}")
        site = prepare(plane, Kubectl(plane.admin_kubeconfig, NAMESPACE), folder)
        service = await stack.enter_async_context(serving(database, valkey.url))
        return await measure(site, launch_for(site, service), service, options)


def main() -> None:
    """Measure as the arguments say, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=1000)
    parser.add_argument("--idle-s", type=int, default=600)
    sys.stdout.write(json.dumps(asyncio.run(run(parser.parse_args())), indent=2) + "\n")


if __name__ == "__main__":
    main()
