"""The Pod Security Standard "restricted", rule by rule, as far as a Linux pod can break it.

Source: kubernetes.io, Pod Security Standards, policy of v1.37. Each rule gives what it finds wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from tests.chart.helm import Object, containers

VOLUMES: Final = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
PROFILES: Final = ("RuntimeDefault", "Localhost")


def violations(pod: Object) -> list[str]:
    """Everything about a pod that "restricted" refuses."""
    return [found for rule in RULES for found in rule(pod)]


def _host(pod: Object) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod["spec"].get(name):
            yield name
    for one in containers(pod):
        for port in one.get("ports", []):
            if port.get("hostPort"):
                yield f"{one['name']}: hostPort"


def _volumes(pod: Object) -> Iterator[str]:
    for volume in pod["spec"].get("volumes", []):
        for kind in set(volume) - {"name"} - VOLUMES:
            yield f"volume {volume['name']}: {kind}"


def _privileges(pod: Object) -> Iterator[str]:
    for one in containers(pod):
        context = one.get("securityContext", {})
        if context.get("privileged"):
            yield f"{one['name']}: privileged"
        if context.get("allowPrivilegeEscalation") is not False:
            yield f"{one['name']}: allowPrivilegeEscalation"
        if context.get("procMount", "Default") != "Default":
            yield f"{one['name']}: procMount"
        capabilities = context.get("capabilities", {})
        if "ALL" not in capabilities.get("drop", []):
            yield f"{one['name']}: keeps capabilities"
        for added in set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            yield f"{one['name']}: adds {added}"


def _users(pod: Object) -> Iterator[str]:
    whole = pod["spec"].get("securityContext", {})
    for one in containers(pod):
        context = {**whole, **one.get("securityContext", {})}
        if context.get("runAsNonRoot") is not True:
            yield f"{one['name']}: runAsNonRoot"
        if context.get("runAsUser") == 0:
            yield f"{one['name']}: runs as root"


def _profiles(pod: Object) -> Iterator[str]:
    whole = pod["spec"].get("securityContext", {})
    for one in containers(pod):
        context = {**whole, **one.get("securityContext", {})}
        if context.get("seccompProfile", {}).get("type") not in PROFILES:
            yield f"{one['name']}: seccompProfile"
        if context.get("appArmorProfile", {"type": "RuntimeDefault"})["type"] not in PROFILES:
            yield f"{one['name']}: appArmorProfile"
        if set(context.get("seLinuxOptions", {})) & {"user", "role"}:
            yield f"{one['name']}: seLinuxOptions"
    if whole.get("sysctls"):
        yield "sysctls"


RULES: Final[tuple[Callable[[Object], Iterator[str]], ...]] = (
    _host,
    _volumes,
    _privileges,
    _users,
    _profiles,
)
