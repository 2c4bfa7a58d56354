"""A tenant as its users see it: the resource, its Secret, its events, and the API it pays by."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import aiohttp

from tests.cluster.kubectl import Kubectl
from tests.cluster.operating import until
from tests.e2e.serving import ADMIN_TOKEN, Service

PAYS: Final = ["payments:write", "payments:read"]


def key(name: str = "till", **more: Any) -> dict[str, Any]:
    """One of `spec.apiKeys`."""
    return {"name": name, "scopes": PAYS, **more}


def manifest(name: str, *keys: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A Tenant with these keys; without any, with one."""
    return {
        "apiVersion": "fluxpay.io/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": name},
        "spec": {
            "displayName": name.title(),
            "environment": "test",
            "currencies": ["EUR"],
            "apiKeys": list(keys) or [key()],
            **spec,
        },
    }


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said to a payment."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(slots=True)
class Shop:
    """One tenant, by name."""

    kubectl: Kubectl
    service: Service
    name: str = "shop"

    def apply(self, *keys: dict[str, Any], **spec: Any) -> None:
        """Apply a manifest with these keys and this spec."""
        told = self.kubectl.apply(manifest(self.name, *keys, **spec))
        assert told.code == 0, told.err

    def patch(self, document: dict[str, Any]) -> None:
        """Change something about the resource."""
        text = json.dumps(document)
        self.kubectl.run("patch", "tenant", self.name, "--type=merge", f"--patch={text}")

    def annotate(self, *words: str) -> None:
        """Set annotations."""
        self.kubectl.run("annotate", "tenant", self.name, "--overwrite", *words)

    def resource(self) -> dict[str, Any]:
        """Read the resource."""
        return self.kubectl.get("tenant", self.name)

    def conditions(self) -> dict[str, dict[str, Any]]:
        """Read the conditions, by type."""
        status = self.resource().get("status", {})
        return {one["type"]: one for one in status.get("conditions", ())}

    def statuses(self) -> dict[str, str]:
        """Read what the conditions say, in short."""
        return {name: one["status"] for name, one in self.conditions().items()}

    def is_so(self, kind: str, status: str, reason: str | None = None) -> bool:
        """Tell whether a condition holds of the newest generation."""
        resource = self.resource()
        return any(
            one["type"] == kind
            and one["status"] == status
            and reason in (None, one["reason"])
            and one["observedGeneration"] == resource["metadata"]["generation"]
            for one in resource.get("status", {}).get("conditions", ())
        )

    async def becomes(
        self, kind: str, status: str = "True", reason: str | None = None, *, patience_s: float = 60
    ) -> None:
        """Wait for a condition."""
        await until(
            lambda: self.is_so(kind, status, reason),
            what=f"{self.name} {kind}={status} {reason or ''}",
            patience_s=patience_s,
        )

    def secret(self, name: str = "till") -> dict[str, Any] | None:
        """Read the Secret of a key, if it is there."""
        told = self.kubectl.ask("get", "secret", f"{self.name}-{name}", "--output=json")
        if told.code != 0:
            assert "NotFound" in told.err
            return None
        found: dict[str, Any] = json.loads(told.out)
        return found

    def binding(self, name: str = "till") -> dict[str, str]:
        """Read the entries of a Secret, as a workload does."""
        found = self.secret(name)
        assert found is not None
        return {entry: base64.b64decode(text).decode() for entry, text in found["data"].items()}

    def token(self, name: str = "till") -> str:
        """Read the key."""
        return self.binding(name)["api-key"]

    def events(self) -> list[tuple[str, str, str]]:
        """Read type, reason and message of what was told about the tenant."""
        text = self.kubectl.run("get", "events", "--output=json")
        return [
            (one["type"], one["reason"], one["message"])
            for one in json.loads(text)["items"]
            if one["involvedObject"]["name"] == self.name
        ]

    def reasons(self) -> list[str]:
        """Read the reasons of its events, sorted."""
        return sorted(reason for _, reason, _ in self.events())

    async def pay(self, token: str | None = None, **payment: Any) -> Answer:
        """Make a payment, with the key from the Secret unless another is given."""
        headers = {
            "Authorization": f"Bearer {token or self.token()}",
            "Idempotency-Key": uuid4().hex,
        }
        url = f"{self.service.api_url}/v1/payments"
        body = {"amount": 1250, "currency": "EUR", **payment}
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json=body, headers=headers) as answer,
        ):
            return Answer(answer.status, dict(answer.headers), await answer.json())

    async def pays(self, token: str | None = None) -> int:
        """Make a payment; gives its status code."""
        return (await self.pay(token)).status

    async def answers(self, status: int, token: str | None = None) -> bool:
        """Tell whether a payment is answered so."""
        return status == await self.pays(token)

    async def tenant_id(self) -> str:
        """Read the tenant's id in FluxPay, once it is told."""
        found: str = await until(
            lambda: self.resource().get("status", {}).get("tenantID"), what="an id"
        )
        return found

    async def admin(self, method: str, path: str = "", body: Any = None) -> tuple[int, Any]:
        """Ask the admin API about the tenant."""
        url = f"{self.service.admin_url}/admin/v1/tenants/{await self.tenant_id()}{path}"
        return await ask_admin(method, url, body)

    async def living_keys(self) -> list[dict[str, Any]]:
        """Read the registered keys that are not revoked."""
        status, found = await self.admin("GET", "/keys")
        assert status == 200, found
        return [one for one in found["data"] if one["revoked_at"] is None]


async def ask_admin(method: str, url: str, body: Any = None) -> tuple[int, Any]:
    """Ask the admin API as an administrator."""
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, url, json=body) as answer,
    ):
        return answer.status, await answer.json()
