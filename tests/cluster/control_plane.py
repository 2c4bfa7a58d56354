"""A real Kubernetes API: etcd and kube-apiserver as children of this process, on loopback.

Knows how the two are started, asked, stopped and started again on the same address. No other
part of Kubernetes runs: nothing collects what an owner leaves, and a Deployment makes no pod.
"""

from __future__ import annotations

import json
import secrets
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fluxpay.embedded import process
from fluxpay.embedded.process import EmbeddedFailed, Launch
from tests.cluster.kubeconfig import Endpoint, write_kubeconfig
from tests.ports import free_port
from tests.toolbox.supply import program
from tests.web.certificates import write_certificate

ADMIN: Final = "test-admin"
ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
ATTEMPTS: Final = 5
ASK_TIMEOUT_S: Final = 2.0
GRACEFUL: Final = ((signal.SIGTERM, 20.0), (signal.SIGKILL, 5.0))
AT_ONCE: Final = ((signal.SIGKILL, 5.0),)
AUDIT_POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "users": ["system:apiserver", "system:anonymous"]},
        {"level": "Metadata"},
    ],
}


@dataclass(frozen=True, slots=True)
class Request:
    """A request that the server answered, as its audit log tells it.

    Args:
        resource: Such as `secrets` or `tenants/status`; empty for a path that is no resource.
    """

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    code: int


class ControlPlane:
    """A running API server with its store; `directory` holds all they write."""

    def __init__(self, directory: Path, *, store_port: int, api_port: int) -> None:
        self.directory = directory
        self.endpoint = Endpoint(f"https://127.0.0.1:{api_port}", directory / "cert.pem")
        self.admin_token = secrets.token_urlsafe(24)
        self._store_port = store_port
        self._api_port = api_port
        self._store: subprocess.Popen[bytes] | None = None
        self._api: subprocess.Popen[bytes] | None = None

    @staticmethod
    def start(directory: Path) -> ControlPlane:
        """Start both in a new, private folder and wait until all of the API answers.

        Raises:
            EmbeddedFailed: With the last words of the server's log.
        """
        write_certificate(directory)
        for attempt in range(1, ATTEMPTS + 1):
            store_port, api_port = free_port(), free_port()
            plane = ControlPlane(directory, store_port=store_port, api_port=api_port)
            plane._write_files()
            try:
                plane._start_store()
                plane.start_api()
            except EmbeddedFailed:
                # Somebody else may have taken a port meanwhile.
                plane.stop()
                if attempt == ATTEMPTS:
                    raise
            else:
                return plane
        raise AssertionError("unreachable")

    @property
    def store_url(self) -> str:
        """Where etcd answers."""
        return f"http://127.0.0.1:{self._store_port}"

    @property
    def admin_kubeconfig(self) -> Path:
        """The kubeconfig of one who may do everything."""
        return self.directory / "admin.kubeconfig"

    @property
    def audit_log(self) -> Path:
        """The log of requests, one JSON object a line."""
        return self.directory / "audit.log"

    def requests(self, *, user: str, start: int = 0) -> list[Request]:
        """The requests of one user, in their order.

        Args:
            start: How many bytes of the log to pass over: its size at an earlier moment.
        """
        with self.audit_log.open("rb") as log:
            log.seek(start)
            events = [json.loads(line) for line in log if line.endswith(b"\n")]
        return [_request(event) for event in events if event["user"].get("username") == user]

    def start_api(self) -> None:
        """Start the API server, on the same address as before if it ran before."""
        launch = self._api_launch()
        self._api = process.start(launch)
        process.await_ready(self._api, launch, self._is_ready)

    def stop_api(self, *, at_once: bool = False) -> None:
        """Stop the API server and leave the store running; `at_once` is `kill -9`."""
        if self._api is not None:
            process.stop(self._api, AT_ONCE if at_once else GRACEFUL)

    def restart_api(self, *, at_once: bool = False) -> None:
        """Stop the API server and start it again: watches end, objects stay."""
        self.stop_api(at_once=at_once)
        self.start_api()

    def stop(self) -> None:
        """End both at once: nothing they hold is wanted any more."""
        self.stop_api(at_once=True)
        if self._store is not None:
            process.stop(self._store, AT_ONCE)

    def _write_files(self) -> None:
        tokens = self.directory / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f'{self.admin_token},{ADMIN},1,"system:masters"\n', encoding="utf-8")
        (self.directory / "audit-policy.json").write_text(json.dumps(AUDIT_POLICY), "utf-8")
        write_kubeconfig(
            self.admin_kubeconfig,
            self.endpoint,
            token=self.admin_token,
            namespace="default",
        )

    def _start_store(self) -> None:
        url = self.store_url
        flags = {
            "data-dir": self.directory / "etcd",
            "listen-client-urls": url,
            "advertise-client-urls": url,
            # A single member talks to no peer, so any free port will do, and none is reserved.
            "listen-peer-urls": "http://127.0.0.1:0",
            "log-level": "warn",
            # A test's objects need not outlive the machine, and a process that is killed loses
            # nothing that it has written.
            "unsafe-no-fsync": "true",
        }
        launch = self._launch("etcd", flags)
        self._store = process.start(launch)
        process.await_ready(self._store, launch, lambda: _answers(f"{url}/readyz", None))

    def _api_launch(self) -> Launch:
        certificate, key = self.directory / "cert.pem", self.directory / "key.pem"
        flags = {
            "etcd-servers": self.store_url,
            "bind-address": "127.0.0.1",
            "secure-port": self._api_port,
            "tls-cert-file": certificate,
            "tls-private-key-file": key,
            "service-account-issuer": ISSUER,
            "service-account-key-file": key,
            "service-account-signing-key-file": key,
            "service-cluster-ip-range": "10.0.0.0/24",
            "token-auth-file": self.directory / "tokens.csv",
            "authorization-mode": "Node,RBAC",
            "endpoint-reconciler-type": "none",
            "audit-policy-file": self.directory / "audit-policy.json",
            "audit-log-path": self.audit_log,
            # Written before the answer goes out, so that a test may read it after the answer.
            "audit-log-mode": "blocking-strict",
        }
        return self._launch("kube-apiserver", flags)

    def _launch(self, name: str, flags: dict[str, Any]) -> Launch:
        command = [str(program(name)), *(f"--{flag}={value}" for flag, value in flags.items())]
        return Launch(
            command=command,
            directory=self.directory,
            log=self.directory / f"{name}.log",
            death_signal="KILL",
        )

    def _is_ready(self) -> bool:
        trusting = ssl.create_default_context(cafile=self.endpoint.authority)
        return _answers(f"{self.endpoint.url}/readyz", trusting)


def _answers(url: str, trusting: ssl.SSLContext | None) -> bool:
    try:
        with urllib.request.urlopen(  # noqa: S310 - only ever an address of our own
            url, timeout=ASK_TIMEOUT_S, context=trusting
        ):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _request(event: dict[str, Any]) -> Request:
    reference = event.get("objectRef", {})
    names = (reference.get("resource", ""), reference.get("subresource", ""))
    return Request(
        user=event["user"]["username"],
        verb=event["verb"],
        resource="/".join(name for name in names if name),
        namespace=reference.get("namespace", ""),
        name=reference.get("name", ""),
        code=event.get("responseStatus", {}).get("code", 0),
    )
