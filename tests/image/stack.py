"""The core of the compose file in a folder of its own, with secrets and ports of its own.

Knows: how Compose is called, and what a reader of the guide has on PATH.
Must not know: what is asserted about the containers.
"""

import json
import os
import shlex
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import uuid_utils

from fluxpay.core.ids import IdKind, encode
from tests.e2e.serving import SCOPES
from tests.image.engine import Engine, EngineFailed
from tests.image.stand_ins import ROOT
from tests.ports import free_port

HEALTHY_TIMEOUT_S: Final = 120
FILE: Final = "deploy/compose.yaml"


@dataclass(frozen=True, slots=True)
class Stack:
    """A checkout's `deploy` in a folder, and the environment its commands are run in."""

    engine: Engine
    folder: Path
    api_port: int
    admin_port: int
    prometheus_port: int
    environ: Mapping[str, str] = field(repr=False)

    @staticmethod
    def laid_out(engine: Engine, folder: Path, *, project: str) -> "Stack":
        """Copy what a user has, without secrets; nothing is started."""
        shutil.copytree(
            ROOT / "deploy", folder / "deploy", ignore=shutil.ignore_patterns("secrets")
        )
        rules = Path("charts/fluxpay/files/rules")
        shutil.copytree(ROOT / rules, folder / rules)
        api_port, admin_port, prometheus_port = (free_port() for _ in range(3))
        environ = {
            **engine.environ,
            "COMPOSE_PROJECT_NAME": project,
            "API_PORT": str(api_port),
            "ADMIN_PORT": str(admin_port),
            "PROMETHEUS_PORT": str(prometheus_port),
        }
        return Stack(engine, folder, api_port, admin_port, prometheus_port, environ)

    def make_secrets(self) -> None:
        """Do what the guide says comes first."""
        subprocess.run(["deploy/make-secrets.sh"], cwd=self.folder, check=True, capture_output=True)

    def secret(self, name: str) -> str:
        """Give one of them."""
        return (self.folder / "deploy" / "secrets" / name).read_text().strip()

    def compose(self, *arguments: str) -> str:
        """Run a command of Compose.

        Raises: EngineFailed with all that it said.
        """
        done = subprocess.run(
            [*self.engine.compose, "--file", FILE, *arguments],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise EngineFailed(f"compose {arguments[0]}: {done.stdout[-4_000:]}{done.stderr}")
        return done.stdout

    def container(self, service: str) -> str:
        """Give the id of the container of a service, running or not."""
        project = self.environ["COMPOSE_PROJECT_NAME"]
        labels = [
            f"--filter=label=com.docker.compose.project={project}",
            f"--filter=label=com.docker.compose.service={service}",
            "--filter=label=com.docker.compose.oneoff=False",
        ]
        (found,) = self.engine.run("ps", "--all", "--quiet", *labels).split()
        return found

    def facts(self, service: str) -> dict[str, Any]:
        """Give what the engine knows of a service's container."""
        return container_facts(self.engine, self.container(service))

    def down(self) -> None:
        """Leave nothing behind."""
        self.compose("down", "--volumes", "--timeout", "10")


def enroll(stack: Stack) -> dict[str, str]:
    """Make a tenant and its key through the admin port, told as `fluxpay dev` tells its own."""
    tenant_id = encode(IdKind.TENANT, uuid_utils.uuid7().int)
    admin_url = f"http://127.0.0.1:{stack.admin_port}"
    tenant = f"{admin_url}/admin/v1/tenants/{tenant_id}"
    quota = {"name": "default", "requests": 60_000, "window_s": 60}
    spec = {
        "generation": 1,
        "display_name": "Kiosk",
        "environment": "test",
        "state": "active",
        "currencies": ["EUR"],
        "rate_limits": [quota],
    }
    _as_admin(stack, "PUT", tenant, spec)
    key = _as_admin(stack, "POST", f"{tenant}/keys", {"name": "till", "scopes": SCOPES})
    return {
        "api_url": f"http://127.0.0.1:{stack.api_port}",
        "admin_url": admin_url,
        "admin_token": stack.secret("admin-token"),
        "api_key": str(key["api_key"]),
    }


def _as_admin(stack: Stack, method: str, url: str, body: dict[str, Any]) -> dict[str, Any]:
    return ask(url, stack.secret("admin-token"), method=method, body=json.dumps(body).encode())


def pay(payments_url: str, api_key: str) -> dict[str, Any]:
    """Make one payment."""
    return ask(payments_url, api_key, method="POST", body=b'{"amount": 1250, "currency": "EUR"}')


def ask(url: str, token: str, *, method: str = "GET", body: bytes | None = None) -> dict[str, Any]:
    """Ask the service, and give its answer; anything but a success raises."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    headers["Idempotency-Key"] = uuid_utils.uuid7().hex
    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - it is HTTP
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
        given: dict[str, Any] = json.loads(answer.read())
    return given


def container_facts(engine: Engine, container: str) -> dict[str, Any]:
    """Give what the engine knows of a container."""
    found: dict[str, Any] = json.loads(engine.run("container", "inspect", container))[0]
    return found


def wait_until_healthy(engine: Engine, container: str) -> None:
    """Wait for the health check of the image to say so.

    Raises: EngineFailed with the container's own words when it ends, or after two minutes.
    """
    deadline_s = time.monotonic() + HEALTHY_TIMEOUT_S
    while True:
        state = container_facts(engine, container)["State"]
        if state["Health"]["Status"] == "healthy":
            return
        if state["Status"] != "running" or time.monotonic() > deadline_s:
            told = engine.attempt("logs", "--tail=20", container)
            raise EngineFailed(f"{state}: {told.stdout}{told.stderr}")
        time.sleep(0.2)


def put_docker_on_path(stack: Stack, build_options: Sequence[str]) -> dict[str, str]:
    """Give an environment where `docker` is the engine's, as the guide calls it.

    Here Compose may be a program of its own, and a build may have to go through a mirror.
    """
    tools = stack.folder / "tools"
    tools.mkdir()
    docker, options = (
        shlex.quote(stack.engine.docker),
        shlex.join(["--network=host", *build_options]),
    )
    script = f"""#!/bin/sh
case "$1" in
compose) shift; exec {shlex.join(stack.engine.compose)} "$@" 2>> compose.log ;;
build) shift; cd {shlex.quote(str(ROOT))}; exec {docker} build {options} "$@" ;;
*) exec {docker} "$@" ;;
esac
"""
    (tools / "docker").write_text(script)
    (tools / "docker").chmod(0o755)
    return {**stack.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
