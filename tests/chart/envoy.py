"""A real Envoy as the way into the cluster: it balances over those pods that a file names.

The file stands for the endpoints that Kubernetes hands to proxies; a changed one takes effect at
once. No retries and no health checks: what a pod does not answer, the client sees.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

_TYPES: Final = "type.googleapis.com/envoy"
_MANAGER: Final = (
    f"{_TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
_PATIENCE_S: Final = 30


@dataclass(frozen=True, slots=True)
class Envoy:
    """A running proxy."""

    url: str
    endpoints: Path

    def lead_to(self, ports: Sequence[int]) -> None:
        """Balance over pods on these ports from now on."""
        found = [{"endpoint": {"address": _address(port)}} for port in ports]
        assignment = {
            "@type": f"{_TYPES}.config.endpoint.v3.ClusterLoadAssignment",
            "cluster_name": "api",
            "endpoints": [{"lb_endpoints": found}],
        }
        new = self.endpoints.with_suffix(".new")
        new.write_text(json.dumps({"resources": [assignment]}), "utf-8")
        # It watches for files that are moved into place.
        new.rename(self.endpoints)


@asynccontextmanager
async def running(folder: Path, *, port: int, ports: Sequence[int]) -> AsyncIterator[Envoy]:
    """Run a proxy in front of pods that end TLS."""
    envoy = Envoy(f"http://127.0.0.1:{port}", folder / "endpoints.json")
    envoy.lead_to(ports)
    config = folder / "envoy.json"
    config.write_text(json.dumps(_bootstrap(port, envoy.endpoints)), "utf-8")
    program = Path(sys.executable).with_name("envoy")
    options = ("--config-path", config, "--log-level", "warning", "--disable-hot-restart")
    process = await asyncio.create_subprocess_exec(program, *options, "--concurrency", "1")
    try:
        async with asyncio.timeout(_PATIENCE_S), aiohttp.ClientSession() as session:
            while not await _answers(session, envoy.url):
                assert None is process.returncode
                await asyncio.sleep(0.05)
        yield envoy
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/health/live") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _bootstrap(port: int, endpoints: Path) -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "api", "timeout": "30s"}}
    router = {"@type": f"{_TYPES}.extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": _MANAGER,
        "stat_prefix": "api",
        "route_config": {"virtual_hosts": [{"name": "api", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    tls = {"@type": f"{_TYPES}.extensions.transport_sockets.tls.v3.UpstreamTlsContext"}
    cluster = {
        "name": "api",
        "type": "EDS",
        "connect_timeout": "1s",
        "eds_cluster_config": {"eds_config": {"path_config_source": {"path": str(endpoints)}}},
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
    }
    filters = [{"name": "envoy.http_connection_manager", "typed_config": manager}]
    listener = {"address": _address(port), "filter_chains": [{"filters": filters}]}
    return {
        "node": {"id": "test", "cluster": "test"},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }
