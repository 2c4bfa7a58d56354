"""A kubeconfig: where the API server is, how it proves itself, and who is asking."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An API server as a client sees it."""

    url: str
    authority: Path


def write_kubeconfig(path: Path, endpoint: Endpoint, *, token: str, namespace: str) -> Path:
    """Write the file for one caller; JSON is YAML, and every client reads it."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "test",
                "cluster": {
                    "server": endpoint.url,
                    "certificate-authority": str(endpoint.authority),
                },
            }
        ],
        "users": [{"name": "caller", "user": {"token": token}}],
        "contexts": [
            {
                "name": "test",
                "context": {"cluster": "test", "user": "caller", "namespace": namespace},
            }
        ],
        "current-context": "test",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
    return path
