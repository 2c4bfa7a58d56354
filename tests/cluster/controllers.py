"""A stand-in for the controllers and nodes of a cluster: runs what Jobs and Deployments ask for.

A Job's container runs once, and its exit code becomes the Job's status. Of a Deployment one pod
runs, replaced when the Deployment changes; it counts as rolled out when that pod is ready. All this
for one namespace. Must not know the chart.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.chart.helm import Object
from tests.chart.kubelet import Container, Missing, Store, prepare
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubeconfig import write_kubeconfig
from tests.ports import free_port

LOOK_S: Final = 0.2
PORTS: Final = (8080, 8081, 8082, 8083)


@dataclass(slots=True)
class _Pod:
    """The running pod of a Deployment, as that was at some generation."""

    generation: int
    container: Container
    process: asyncio.subprocess.Process
    is_ready: bool = False

    async def becomes_ready(self) -> bool:
        """Ask its probes once; nothing waits here, since the Deployment may go meanwhile."""
        probes = ("startupProbe", "readinessProbe")
        self.is_ready = all([await self.container.passes(probe) for probe in probes])
        return self.is_ready

    async def end(self) -> None:
        """Ask it to end, which it may not have done by itself."""
        assert self.process.returncode is None, f"{self.container.spec['name']} ended by itself"
        self.process.terminate()
        await self.process.wait()

    async def kill(self) -> None:
        """End it at once."""
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@dataclass(slots=True)
class Controllers:
    """Works on a namespace until told to stop.

    Args:
        components: The Deployments that are run, by their component; others are left alone.
    """

    plane: ControlPlane
    namespace: str
    folder: Path
    components: tuple[str, ...]
    ports: Mapping[int, int] = field(default_factory=lambda: {n: free_port() for n in PORTS})
    ran: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _pods: dict[str, _Pod] = field(default_factory=dict)
    _count: int = 0

    @contextmanager
    def at_work(self) -> Iterator[Controllers]:
        """Work in a thread of its own for the length of a block."""
        thread = threading.Thread(target=lambda: asyncio.run(self._work()))
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()

    async def _work(self) -> None:
        trusting = ssl.create_default_context(cafile=self.plane.endpoint.authority)
        headers = {"Authorization": f"Bearer {self.plane.admin_token}"}
        connector = aiohttp.TCPConnector(ssl=trusting)
        async with aiohttp.ClientSession(
            self.plane.endpoint.url, headers=headers, connector=connector, raise_for_status=True
        ) as session:
            try:
                while not self._stop.is_set():
                    await self._jobs(session)
                    await self._deployments(session)
                    await asyncio.sleep(LOOK_S)
            finally:
                for pod in self._pods.values():
                    await pod.kill()

    async def _jobs(self, session: aiohttp.ClientSession) -> None:
        for job in await self._list(session, "apis/batch/v1", "jobs"):
            if job.get("status", {}).get("conditions"):
                continue
            name = job["metadata"]["name"]
            started = _now()
            pod = job["spec"]["template"]
            (spec,) = pod["spec"]["containers"]
            process = await (await self._container(session, pod, spec["name"])).start()
            is_done = 0 == await process.wait()
            self.ran.append(f"{name}: {'done' if is_done else 'failed'}")
            kinds = ("SuccessCriteriaMet", "Complete") if is_done else ("FailureTarget", "Failed")
            count = {"succeeded": 1} if is_done else {"failed": 1}
            ended = {"completionTime": _now()} if is_done else {}
            conditions = [_condition(kind) for kind in kinds]
            status = {"startTime": started, "conditions": conditions, **ended, **count}
            await self._tell(session, "apis/batch/v1", "jobs", name, status)

    async def _deployments(self, session: aiohttp.ClientSession) -> None:
        found = await self._list(session, "apis/apps/v1", "deployments")
        wanted = {
            one["metadata"]["name"]: one
            for one in found
            if one["metadata"]["labels"]["app.kubernetes.io/component"] in self.components
        }
        for name, pod in tuple(self._pods.items()):
            if name not in wanted or wanted[name]["metadata"]["generation"] != pod.generation:
                await self._pods.pop(name).end()
        for name, one in wanted.items():
            if name not in self._pods:
                await self._start(session, name, one)
            elif not self._pods[name].is_ready and await self._pods[name].becomes_ready():
                await self._tell(session, "apis/apps/v1", "deployments", name, _rolled_out(one))

    async def _start(self, session: aiohttp.ClientSession, name: str, deployment: Object) -> None:
        component = deployment["metadata"]["labels"]["app.kubernetes.io/component"]
        try:
            container = await self._container(session, deployment["spec"]["template"], component)
        except Missing:
            return
        generation = deployment["metadata"]["generation"]
        self._pods[name] = _Pod(generation, container, await container.start())

    async def _container(self, session: aiohttp.ClientSession, pod: Object, name: str) -> Container:
        self._count += 1
        place = self.folder / f"pod-{self._count}"
        place.mkdir(mode=0o700)
        secrets = await self._list(session, "api/v1", "secrets")
        config_maps = await self._list(session, "api/v1", "configmaps")
        store = Store(
            {one["metadata"]["name"]: _decoded(one.get("data", {})) for one in secrets},
            {one["metadata"]["name"]: one.get("data", {}) for one in config_maps},
        )
        more = {}
        if any(volume["name"] == "token" for volume in pod["spec"]["volumes"]):
            account = pod["spec"]["serviceAccountName"]
            more["KUBECONFIG"] = str(await self._kubeconfig(session, account, place))
        return prepare(pod, name, store, place, ports=self.ports, more=more)

    async def _kubeconfig(self, session: aiohttp.ClientSession, account: str, folder: Path) -> Path:
        """What the token in a pod is good for, where a process here finds it."""
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token"
        wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        async with session.post(path, json=wanted, raise_for_status=False) as answer:
            if answer.status == HTTPStatus.NOT_FOUND:
                raise Missing(account)
            token = (await answer.json())["status"]["token"]
        found = folder / "kubeconfig"
        return write_kubeconfig(found, self.plane.endpoint, token=token, namespace=self.namespace)

    async def _list(
        self, session: aiohttp.ClientSession, group: str, kind: str
    ) -> list[dict[str, Any]]:
        async with session.get(f"/{group}/namespaces/{self.namespace}/{kind}") as answer:
            found: list[dict[str, Any]] = (await answer.json())["items"]
        return found

    async def _tell(
        self, session: aiohttp.ClientSession, group: str, kind: str, name: str, status: Object
    ) -> None:
        path = f"/{group}/namespaces/{self.namespace}/{kind}/{name}/status"
        content = {"Content-Type": "application/merge-patch+json"}
        # Whoever waited for it may have taken it away meanwhile.
        async with session.patch(
            path, json={"status": status}, headers=content, raise_for_status=False
        ) as answer:
            assert answer.status in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}, await answer.text()


def _rolled_out(deployment: Object) -> Object:
    """The status of a Deployment whose pods are all ready; kubectl goes by its counts."""
    counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    return {
        "observedGeneration": deployment["metadata"]["generation"],
        **dict.fromkeys(counts, deployment["spec"]["replicas"]),
        "conditions": [_condition("Available"), _condition("Progressing")],
    }


def _condition(kind: str) -> dict[str, str]:
    reasons = {"Progressing": "NewReplicaSetAvailable", "Available": "MinimumReplicasAvailable"}
    return {
        "type": kind,
        "status": "True",
        "reason": reasons.get(kind, "Ended"),
        "lastTransitionTime": _now(),
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _decoded(data: Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64decode(text).decode() for key, text in data.items()}
