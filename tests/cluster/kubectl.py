"""The real kubectl, for one caller in one namespace."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.toolbox.supply import program

PATIENCE_S: Final = 60


@dataclass(frozen=True, slots=True)
class Told:
    """What a command said."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl with a kubeconfig, which names the namespace.

    Args:
        kubeconfig: It stands in a folder that may also hold kubectl's cache.
    """

    kubeconfig: Path
    namespace: str

    def ask(self, *arguments: str, stdin: str = "") -> Told:
        """Run a command that may fail."""
        finished = subprocess.run(
            [program("kubectl"), *arguments],
            env={
                "HOME": str(self.kubeconfig.parent),
                "KUBECONFIG": str(self.kubeconfig),
                "PATH": "/usr/bin:/bin",
            },
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return Told(finished.returncode, finished.stdout, finished.stderr)

    def run(self, *arguments: str, stdin: str = "") -> str:
        """Run a command that must succeed; give what it printed."""
        told = self.ask(*arguments, stdin=stdin)
        assert told.code == 0, f"kubectl {' '.join(arguments)}: {told.err}"
        return told.out

    def apply(self, manifest: dict[str, Any], *options: str) -> Told:
        """Apply one object; it may be refused."""
        return self.ask("apply", "--filename=-", *options, stdin=json.dumps(manifest))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Read one object."""
        read: dict[str, Any] = json.loads(self.run("get", kind, name, "--output=json"))
        return read
