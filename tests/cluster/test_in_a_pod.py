"""In a pod the operator finds its cluster by what every pod is given, and follows a new token."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import incluster_config, load_kube_config

from fluxpay_operator import kube
from fluxpay_operator.kube import Kube, KubeUnavailable, pod_namespace
from tests.cluster.operating import Site
from tests.cluster.shop import manifest


def token(site: Site) -> str:
    known = json.loads(site.account.kubeconfig.read_text(encoding="utf-8"))
    found: str = known["users"][0]["user"]["token"]
    return found


async def test_it_reads_what_a_pod_is_given(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(site.plane.endpoint.authority, tmp_path / "ca.crt")
    (tmp_path / "token").write_text("expired", encoding="utf-8")
    (tmp_path / "namespace").write_text(site.admin.namespace, encoding="utf-8")
    host, _, port = site.plane.endpoint.url.removeprefix("https://").partition(":")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setattr(kube, "POD_NAMESPACE_FILE", tmp_path / "namespace")
    namespace = pod_namespace()
    assert site.admin.namespace == namespace
    client = Kube(ApiClient(await kube.configuration()))
    try:
        with pytest.raises(KubeUnavailable):
            await client.list_tenants(namespace)
        (tmp_path / "token").write_text(token(site), encoding="utf-8")
        pass_a_minute(monkeypatch)
        found = await client.list_tenants(namespace)
    finally:
        await client.close()
    assert [] == found


async def test_a_list_of_several_pages_is_read_to_its_end(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["a-shop", "b-shop", "c-shop"]
    for name in names:
        assert 0 == site.admin.apply(manifest(name)).code
    monkeypatch.setattr(kube, "_PAGE", 2)
    found_by = Configuration()
    await load_kube_config(str(site.account.kubeconfig), client_configuration=found_by)  # type: ignore[no-untyped-call]
    client = Kube(ApiClient(found_by))
    try:
        found = await client.list_tenants(site.admin.namespace)
    finally:
        await client.close()
    assert found is not None
    assert names == [one["metadata"]["name"] for one in found]


def pass_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loader of the client library think that its token is due to be read again."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            assert tz is None
            return datetime.now() + timedelta(minutes=2)  # noqa: DTZ005 - as the library does

    class Module:
        datetime = Later
        timedelta = timedelta

    monkeypatch.setattr(incluster_config, "datetime", Module)
