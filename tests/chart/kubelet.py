"""A stand-in for the kubelet: runs a container of a rendered pod as a process of this machine.

It gives the process what the pod's text says and nothing else: environment, files of Secrets and
ConfigMaps, arguments. Only what cannot be had here differs: paths lie in a folder, and ports are
free ones of loopback. Probes are asked as they are written. Must not know the chart.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from tests.chart.helm import Object

PATIENCE_S: Final = 60.0
_KEPT: Final = ("PATH", "LD_LIBRARY_PATH", "TZ")
_PROGRAMS: Final[Mapping[str, list[str]]] = {
    "fluxpay": [sys.executable, "-m", "fluxpay.cli"],
    "python": [sys.executable],
}
# The image's entry point.
_ENTRY: Final = ["fluxpay"]
_SERVICE: Final = re.compile(r"[a-z0-9-]+\.[a-z0-9-]+\.svc:(?P<port>\d+)")
# In a script names of Services lead to this machine, each port to the free one that stands for it.
_RESOLVER: Final = """
import socket
_connect, _ports = socket.create_connection, {ports!r}
socket.create_connection = lambda at, *more, **named: _connect(
    ("127.0.0.1", _ports.get(at[1], at[1])), *more, **named)
"""


class Missing(Exception):
    """A pod names something that is not there: a kubelet tries again later."""


@dataclass(frozen=True, slots=True)
class Store:
    """What a cluster keeps for its pods. Args: by name, texts by key."""

    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def secret(self, name: str) -> Mapping[str, str]:
        """The texts of a Secret."""
        return _there(self.secrets, name)

    def config_map(self, name: str) -> Mapping[str, str]:
        """The texts of a ConfigMap."""
        return _there(self.config_maps, name)


@dataclass(frozen=True, slots=True)
class Container:
    """A container about to be run. Args: ports: the free port that stands for each of its own."""

    spec: Object
    environ: Mapping[str, str]
    paths: Mapping[str, Path]
    ports: Mapping[int, int]
    more: Mapping[str, str]

    def local(self, text: str) -> str:
        """Turn the paths of the container in a text into those of this machine."""
        for inside, here in self.paths.items():
            text = text.replace(inside, str(here))
        return text

    def _reached(self, text: str) -> str:
        """Turn the addresses of Services in a text into those of this machine."""
        return _SERVICE.sub(lambda found: f"127.0.0.1:{self.ports[int(found['port'])]}", text)

    @property
    def command(self) -> list[str]:
        """What is run."""
        words: list[str] = [*self.spec.get("command", _ENTRY), *self.spec.get("args", [])]
        first, *more = words
        if first == "python":
            more[-1] = _RESOLVER.format(ports=dict(self.ports)) + more[-1]
        return [*_PROGRAMS[first], *(self.local(each) for each in more)]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the process."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        told = {name: self._reached(self.local(text)) for name, text in self.environ.items()}
        numbers = {str(inside): str(here) for inside, here in self.ports.items()}
        moved = {
            name: numbers[text]
            for name, text in told.items()
            if name.endswith("_PORT") and text in numbers
        }
        hosts = {name: "127.0.0.1" for name in told if name.endswith("_HOST")}
        return {**kept, **told, **moved, **hosts, **self.more}

    async def start(self) -> asyncio.subprocess.Process:
        """Start it; it writes where this process does."""
        return await asyncio.create_subprocess_exec(*self.command, env=self.environment)

    async def passes(self, probe: str) -> bool:
        """Ask a probe once, as it is written."""
        wanted = self.spec[probe]
        if "exec" in wanted:
            first, *more = wanted["exec"]["command"]
            asked = await asyncio.create_subprocess_exec(
                *_PROGRAMS[first],
                *more,
                env=self.environment,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            return 0 == await asked.wait()
        asked = wanted["httpGet"]
        named = {port["name"]: port["containerPort"] for port in self.spec["ports"]}
        port = self.ports[named[asked["port"]]]
        url = f"{asked.get('scheme', 'HTTP').lower()}://127.0.0.1:{port}{asked['path']}"
        timeout = aiohttp.ClientTimeout(total=wanted["timeoutSeconds"])
        try:
            # The kubelet does not verify certificates either.
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(url, ssl=False) as answer,
            ):
                return 200 <= answer.status < 400
        except (aiohttp.ClientError, TimeoutError, ssl.SSLError):
            return False

    async def await_ready(self) -> None:
        """Wait until it has started and is ready."""
        async with asyncio.timeout(PATIENCE_S):
            for probe in ("startupProbe", "readinessProbe"):
                while not await self.passes(probe):
                    await asyncio.sleep(0.1)


def prepare(
    pod: Object,
    name: str,
    store: Store,
    folder: Path,
    *,
    ports: Mapping[int, int],
    more: Mapping[str, str] | None = None,
) -> Container:
    """Lay out the files of a container and read its environment.

    Args:
        pod: The template of the pod.
        name: The container.
        folder: An empty, private folder.
        ports: The free port that stands for each of the container's.
        more: What the environment holds beside, in words of this machine.

    Raises:
        Missing: Something that the pod names is not there.
    """
    every = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    (spec,) = (one for one in every if one["name"] == name)
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    paths = {}
    for mount in spec["volumeMounts"]:
        paths[mount["mountPath"]] = place = folder / mount["name"]
        place.mkdir(exist_ok=True)
        for file, text in _files(volumes[mount["name"]], store).items():
            (place / file).write_text(text, "utf-8")
    environ: dict[str, str] = {}
    for source in spec.get("envFrom", []):
        environ |= store.config_map(source["configMapRef"]["name"])
    environ |= {variable["name"]: variable["value"] for variable in spec.get("env", [])}
    return Container(spec, environ, paths, ports, more or {})


def _files(volume: Object, store: Store) -> dict[str, str]:
    if "secret" in volume:
        return _chosen(volume["secret"]["items"], store.secret(volume["secret"]["secretName"]))
    found: dict[str, str] = {}
    for source in volume.get("projected", {}).get("sources", []):
        if "secret" in source:
            found |= _chosen(source["secret"]["items"], store.secret(source["secret"]["name"]))
    return found


def _chosen(items: list[Object], texts: Mapping[str, str]) -> dict[str, str]:
    return {item["path"]: texts[item["key"]] for item in items}


def _there(kept: Mapping[str, Mapping[str, str]], name: str) -> Mapping[str, str]:
    if name not in kept:
        raise Missing(name)
    return kept[name]
