"""`fluxpay operator` as a process of its own, with the rights that its roles give it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from tests.cluster.accounts import account_user, act_as
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import Kubectl
from tests.e2e.serving import ADMIN_TOKEN, Service

RULES: Final = Path(__file__).parents[2] / "charts/fluxpay/files/operator-rules.yaml"
ACCOUNT: Final = "fluxpay-operator"
PATIENCE_S: Final = 60.0


def shipped_rules() -> dict[str, list[dict[str, Any]]]:
    """The rules of the operator's roles, as they ship."""
    rules: dict[str, list[dict[str, Any]]] = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return rules


@dataclass(frozen=True, slots=True)
class Site:
    """Where operators run: an API server, a namespace, an account with the shipped rights."""

    plane: ControlPlane
    admin: Kubectl
    account: Kubectl
    folder: Path

    @property
    def user(self) -> str:
        """The name that the audit log knows the operator by."""
        return account_user(self.admin.namespace, ACCOUNT)


def prepare(plane: ControlPlane, admin: Kubectl, folder: Path, *, everywhere: bool = False) -> Site:
    """Make the account and give it its roles.

    Args:
        everywhere: Whether it serves all namespaces.
    """
    account = act_as(plane, admin, ACCOUNT, folder)
    rules = shipped_rules()
    scope = "Cluster" if everywhere else ""
    grant(admin, "tenants", rules["tenants"], scope=scope)
    grant(admin, "lease", rules["lease"])
    return Site(plane, admin, account, folder)


def grant(admin: Kubectl, name: str, rules: Iterable[dict[str, Any]], *, scope: str = "") -> None:
    """Write a role and bind it to the operator's account."""
    group = "rbac.authorization.k8s.io"
    named = f"{ACCOUNT}-{name}" if not scope else f"{ACCOUNT}-{name}-{admin.namespace}"
    role = {
        "apiVersion": f"{group}/v1",
        "kind": f"{scope}Role",
        "metadata": {"name": named},
        "rules": list(rules),
    }
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": f"{scope}RoleBinding",
        "metadata": {"name": named},
        "roleRef": {"apiGroup": group, "kind": f"{scope}Role", "name": named},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": admin.namespace}],
    }
    for document in (role, binding):
        told = admin.apply(document)
        assert told.code == 0, told.err


@dataclass(slots=True)
class Operator:
    """A running operator."""

    process: asyncio.subprocess.Process
    url: str
    log: Path

    async def kill(self) -> None:
        """End it as a power failure would."""
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def stop(self) -> int:
        """Ask it to end, and give its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged; every line must be an object."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    async def health(self, name: str) -> tuple[int, dict[str, Any]]:
        """Ask one of its probes."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/health/{name}") as answer,
        ):
            return answer.status, await answer.json()

    async def metrics(self) -> str:
        """Ask for its metrics."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/metrics") as answer:
            return await answer.text()


@dataclass(slots=True)
class Launch:
    """How operators are started at a site.

    Args:
        admin_url: The admin API, or something that stands before it.
    """

    site: Site
    admin_url: str
    api_url: str
    namespaces: str | None = None
    kubeconfig: Path | None = None
    variables: dict[str, str] = field(default_factory=dict)
    started: list[Operator] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        """What the process is told."""
        token = self.site.folder / "admin-token"
        token.write_text(ADMIN_TOKEN, encoding="utf-8")
        named = self.site.admin.namespace if self.namespaces is None else self.namespaces
        return {
            **{name: text for name, text in os.environ.items() if not name.startswith("FLUXPAY_")},
            "KUBECONFIG": str(self.kubeconfig or self.site.account.kubeconfig),
            "FLUXPAY_OPERATOR_ADMIN_URL": self.admin_url,
            "FLUXPAY_OPERATOR_API_URL": self.api_url,
            "FLUXPAY_ADMIN_TOKEN_FILE": str(token),
            "FLUXPAY_OPERATOR_NAMESPACES": named,
            "FLUXPAY_OPERATOR_LEASE_NAMESPACE": self.site.admin.namespace,
            "FLUXPAY_OPERATOR_HOST": "127.0.0.1",
            "FLUXPAY_OPERATOR_PORT": "0",
            **self.variables,
        }

    async def start(self) -> Operator:
        """Start one, and wait until it watches."""
        operator = await self.begin()
        assert operator.process.stdout is not None
        line = (await operator.process.stdout.readline()).decode().split()
        assert ["Watching", "tenants,"] == line[:2], operator.log.read_text(encoding="utf-8")
        operator.url = line[-1]
        return operator

    async def begin(self) -> Operator:
        """Start one, and wait for nothing."""
        log = self.site.folder / f"operator-{len(self.started) + 1}.log"
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "fluxpay.cli",
                "operator",
                env=self.environment(),
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
            )
        operator = Operator(process, "", log)
        self.started.append(operator)
        return operator

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Operator]:
        """An operator for the length of a block."""
        operator = await self.start()
        try:
            yield operator
            if operator.process.returncode is None:
                # It gives its Lease back, so that the next one need not wait.
                assert 0 == await operator.stop()
        finally:
            await operator.kill()


def launch_for(site: Site, service: Service, **variables: str) -> Launch:
    """Start operators that speak to this service."""
    return Launch(site, service.admin_url, service.api_url, variables=variables)


async def until(
    holds: Callable[[], Any], *, what: str, patience_s: float = PATIENCE_S, pause_s: float = 0.2
) -> Any:
    """Wait for a state; gives what `holds` last gave, which is something true."""
    deadline_s = time.monotonic() + patience_s
    while True:
        found = await asyncio.to_thread(holds)
        if found:
            return found
        assert time.monotonic() < deadline_s, f"waited {patience_s} s for: {what}"
        await asyncio.sleep(pause_s)


async def eventually(
    holds: Callable[[], Awaitable[bool]], *, patience_s: float = PATIENCE_S, pause_s: float = 0.2
) -> None:
    """Wait for a state that has to be asked for."""
    deadline_s = time.monotonic() + patience_s
    while not await holds():
        assert time.monotonic() < deadline_s, f"waited {patience_s} s"
        await asyncio.sleep(pause_s)
