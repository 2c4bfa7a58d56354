"""Kubernetes as the operator uses it: few calls, each one bounded, each on plain documents.

Knows paths, verbs and content types, and the one name under which fields are owned. It goes through
`kubernetes.aio`, with its configuration and its credentials, but not through the generated classes:
they would cost more memory than all else together. Must not know what a tenant is.

Every call is in the Role of `deploy/operator/rbac.yaml`; a test holds the two together.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config

from fluxpay.observability.work import asking, place_of, shown_url
from fluxpay_operator.spec import GROUP, PLURAL, VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

Document = dict[str, Any]

FIELD_MANAGER: Final = "fluxpay-operator"
POD_NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10, sock_connect=3)
_CONNECTIONS_MAX: Final = 32
_PAGE: Final = 250
_APPLY: Final = "application/apply-patch+yaml"
_MERGE: Final = "application/merge-patch+json"
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_SERVER_FAULT: Final = 500
_OK_MAX: Final = 299
# 401 too: a token that has just been renewed is read again within a minute.
_LATER: Final = frozenset({401, 408, 429})


class KubeUnavailable(Exception):
    """The API server cannot be reached, or does not serve; later it may."""


class KubeRefused(Exception):
    """The API server will not do this, now or later."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class KubeConflict(KubeRefused):
    """Somebody else was faster; what was read is no longer so."""


async def configuration() -> Configuration:
    """Find the API server: by `KUBECONFIG`, else as every pod does, else by the user's own file."""
    found = Configuration()
    if os.environ.get("KUBECONFIG") or "KUBERNETES_SERVICE_HOST" not in os.environ:
        await load_kube_config(client_configuration=found)  # type: ignore[no-untyped-call]
    else:
        load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
    found.connection_pool_maxsize = _CONNECTIONS_MAX
    return found


def pod_namespace() -> str | None:
    """The namespace that this pod runs in, if it is one."""
    try:
        return POD_NAMESPACE_FILE.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


class Kube:
    """The API server, seen by one set of credentials."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._place = place_of(client.configuration.host)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()  # type: ignore[no-untyped-call]

    async def list_tenants(self, namespace: str | None) -> list[Document] | None:
        """Read all tenants of a namespace, or of any; None where tenants are not defined."""
        path = _tenants(namespace) if namespace else f"/apis/{GROUP}/{VERSION}/{PLURAL}"
        found: list[Document] = []
        query = limit = [("limit", str(_PAGE))]
        while True:
            page = await self._call("GET", path, query=query)
            if page is None:
                return None
            found += page["items"]
            more = page["metadata"].get("continue")
            if not more:
                return found
            query = [*limit, ("continue", more)]

    async def tenant(self, namespace: str, name: str) -> Document | None:
        """Read one tenant."""
        return await self._call("GET", f"{_tenants(namespace)}/{name}")

    async def set_finalizers(self, tenant: Document, finalizers: list[str]) -> Document | None:
        """Write the finalizers of a tenant as it was read; None once it is gone.

        Raises: KubeConflict when it has changed since.
        """
        metadata = tenant["metadata"]
        body = {
            "metadata": {
                "finalizers": finalizers,
                "resourceVersion": metadata["resourceVersion"],
            }
        }
        path = f"{_tenants(metadata['namespace'])}/{metadata['name']}"
        return await self._patch(path, body, _MERGE)

    async def write_status(
        self, tenant: Document, status: Document, *, only_as_read: bool
    ) -> Document | None:
        """Write the status of a tenant, members that are None taken out; None once it is gone.

        Args:
            tenant: As it was read; another one that has taken its name is left alone.
            only_as_read: Whether to leave it alone if anything of it has changed since.

        Raises: KubeConflict.
        """
        metadata = tenant["metadata"]
        only = {"uid": metadata["uid"]}
        if only_as_read:
            only["resourceVersion"] = metadata["resourceVersion"]
        path = f"{_tenants(metadata['namespace'])}/{metadata['name']}/status"
        return await self._patch(path, {"metadata": only, "status": status}, _MERGE)

    async def secret(self, namespace: str, name: str) -> Document | None:
        """Read one Secret."""
        return await self._call("GET", f"{_core(namespace)}/secrets/{name}")

    async def apply_secret(self, secret: Document, *, is_ours: bool) -> Document:
        """Write a Secret, by server-side apply.

        Args:
            secret: With `metadata.resourceVersion` where it was read before.
            is_ours: Take fields back that others wrote; else a field of somebody else's is left.

        Raises: KubeConflict when it is somebody else's, or has changed since.
        """
        metadata = secret["metadata"]
        path = f"{_core(metadata['namespace'])}/secrets/{metadata['name']}"
        force = [("force", "true")] if is_ours else []
        written = await self._patch(path, secret, _APPLY, force)
        if written is None:
            raise KubeUnavailable(f"namespace {metadata['namespace']} is gone")
        return written

    async def delete_secret(self, secret: Document) -> None:
        """Delete a Secret as it was read."""
        metadata = secret["metadata"]
        only = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        path = f"{_core(metadata['namespace'])}/secrets/{metadata['name']}"
        await self._call("DELETE", path, body={"preconditions": only})

    async def post_event(self, event: Document) -> None:
        """Record an Event."""
        await self._call("POST", f"{_core(event['metadata']['namespace'])}/events", body=event)

    async def lease(self, namespace: str, name: str) -> Document | None:
        """Read a Lease."""
        return await self._call("GET", f"{_leases(namespace)}/{name}")

    async def create_lease(self, lease: Document) -> Document | None:
        """Create a Lease.

        Raises: KubeConflict when there is one.
        """
        return await self._call("POST", _leases(lease["metadata"]["namespace"]), body=lease)

    async def replace_lease(self, lease: Document) -> Document | None:
        """Write a Lease as it was read, but for its spec.

        Raises: KubeConflict when it has changed since.
        """
        metadata = lease["metadata"]
        path = f"{_leases(metadata['namespace'])}/{metadata['name']}"
        return await self._call("PUT", path, body=lease)

    async def _patch(
        self,
        path: str,
        body: Document,
        content_type: str,
        query: list[tuple[str, str]] | None = None,
    ) -> Document | None:
        return await self._call("PATCH", path, body=body, query=query, content_type=content_type)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Document | None = None,
        query: list[tuple[str, str]] | None = None,
        content_type: str = "application/json",
    ) -> Document | None:
        if method in ("POST", "PUT", "PATCH"):
            query = [("fieldManager", FIELD_MANAGER), *(query or [])]
        headers = {"Accept": "application/json", "Content-Type": content_type}
        asked = f"{quote(path)}?{urlencode(query)}" if query else quote(path)
        attributes = {
            **self._place,
            "http.request.method": method,
            "url.full": shown_url(self._client.configuration.host + asked),
        }
        with asking(f"{method} {_kind_in(path)}", attributes) as part:
            status, content = await self._send(method, path, query, headers, body)
            part.answered(status)
        return _told(f"{method} {path}", status, content)

    async def _send(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]] | None,
        headers: dict[str, str],
        body: Document | None,
    ) -> tuple[int, bytes]:
        try:
            serialized = await self._client.param_serialize(
                method,
                quote(path),
                query_params=query or [],
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = await self._client.call_api(*serialized, _request_timeout=_TIMEOUT)
            return answer.status, await answer.read()  # type: ignore[no-untyped-call]
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            raise KubeUnavailable(f"{method} {path}: {type(error).__name__}") from error


def _kind_in(path: str) -> str:
    """What kind of object a path leads to, without its name: `secrets`, `tenants/status`."""
    _, _, rest = path.partition("/namespaces/")
    parts = rest.split("/")[1:] if rest else [path.rpartition("/")[2]]
    return "/".join(parts[::2])


def _told(what: str, status: int, content: bytes) -> Document | None:
    if status == _NOT_FOUND:
        return None
    if status <= _OK_MAX:
        document: Document = json.loads(content)
        return document
    try:
        message = str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        message = f"{what}: {status}"
    if status >= _SERVER_FAULT or status in _LATER:
        raise KubeUnavailable(message)
    raise (KubeConflict if status == _CONFLICT else KubeRefused)(status, message)


def names(document: Mapping[str, Any]) -> tuple[str, str]:
    """The namespace and the name of an object."""
    metadata = document["metadata"]
    return metadata["namespace"], metadata["name"]


def _tenants(namespace: str) -> str:
    return f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}"


def _core(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}"


def _leases(namespace: str) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
