"""The programs of others that tests run, and which tests need them.

To add one: make a folder in `modules` with a `go.mod` that pins it (`go mod init`, `go get -tool
PACKAGE@VERSION`, `go mod tidy`), commit it with its `go.sum`, and add a row here. The pins and
the checksums are what make it the same program everywhere.
"""

from __future__ import annotations

import hashlib
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.toolbox.places import concerns

MODULES: Final = Path(__file__).with_name("modules")


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that `go build` makes.

    Args:
        name: What the program is called.
        module: The folder in `modules` that pins it.
        package: The import path of its main package.
        versioned_by: The module whose version is the program's.
        stamps: Variables to set while linking; `{version}`, `{major}` and `{minor}` are known.
        is_asset: Whether `KUBEBUILDER_ASSETS` may hold it already.
    """

    name: str
    module: str
    package: str
    versioned_by: str
    stamps: tuple[str, ...] = ()
    is_asset: bool = False

    @property
    def folder(self) -> Path:
        """Where its `go.mod` and `go.sum` stand."""
        return MODULES / self.module

    @property
    def version(self) -> str:
        """The pinned version, such as `v1.37.2`."""
        pins = (self.folder / "go.mod").read_text(encoding="utf-8")
        pin = re.search(
            rf"^(?:require |\t){re.escape(self.versioned_by)} (v\S+)", pins, re.MULTILINE
        )
        if pin is None:
            raise LookupError(f"{self.folder / 'go.mod'} does not require {self.versioned_by}")
        return pin[1]

    @property
    def link_flags(self) -> str:
        """What the linker is told: no symbols, and the version."""
        major, minor, *_ = self.version.removeprefix("v").split(".")
        stamps = [
            f"-X {stamp.format(version=self.version, major=major, minor=minor)}"
            for stamp in self.stamps
        ]
        return " ".join(("-s", "-w", *stamps))

    @property
    def file_name(self) -> str:
        """A name that changes with anything that changes the program."""
        pins = [(self.folder / name).read_text(encoding="utf-8") for name in ("go.mod", "go.sum")]
        recipe = "\n".join((*pins, self.package, self.link_flags, sys.platform, platform.machine()))
        return f"{self.name}-{self.version}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


_KUBERNETES_VERSION: Final = (
    "k8s.io/component-base/version.gitVersion={version}",
    "k8s.io/component-base/version.gitMajor={major}",
    "k8s.io/component-base/version.gitMinor={minor}",
)

# helm says on its own that it renders for a Kubernetes that is long gone.
_RENDERED_FOR: Final = tuple(
    f"helm.sh/helm/v3/pkg/{package}.k8sVersion{part}={number}"
    for package in ("chartutil", "lint/rules")
    for part, number in (("Major", 1), ("Minor", 37))
)

TOOLS: Final = (
    Tool(
        "etcd",
        module="kubernetes",
        package="go.etcd.io/etcd/server/v3",
        versioned_by="go.etcd.io/etcd/server/v3",
        is_asset=True,
    ),
    Tool(
        "kube-apiserver",
        module="kubernetes",
        package="k8s.io/kubernetes/cmd/kube-apiserver",
        versioned_by="k8s.io/kubernetes",
        stamps=_KUBERNETES_VERSION,
        is_asset=True,
    ),
    Tool(
        "kubectl",
        module="kubernetes",
        package="k8s.io/kubernetes/cmd/kubectl",
        versioned_by="k8s.io/kubernetes",
        stamps=_KUBERNETES_VERSION,
        is_asset=True,
    ),
    Tool(
        "helm",
        module="helm",
        package="helm.sh/helm/v3/cmd/helm",
        versioned_by="helm.sh/helm/v3",
        stamps=("helm.sh/helm/v3/internal/version.version={version}", *_RENDERED_FOR),
    ),
    Tool(
        "kube-score",
        module="kube-score",
        package="github.com/zegl/kube-score/cmd/kube-score",
        versioned_by="github.com/zegl/kube-score",
    ),
)

NEEDED_IN: Final = {
    "tests/chart": ("helm", "kube-score"),
    "tests/cluster": ("etcd", "kube-apiserver", "kubectl", "helm"),
    "tests/observability": ("etcd", "kube-apiserver", "kubectl", "helm"),
}
"""Which tools the tests below a path need."""


def tool(name: str) -> Tool:
    """The tool of this name."""
    (found,) = (one for one in TOOLS if one.name == name)
    return found


def needed_for(arguments: list[str], root: Path) -> tuple[Tool, ...]:
    """The tools that a test run with these arguments of pytest needs; without a path, all."""
    names = {
        name
        for tier, needed in NEEDED_IN.items()
        if concerns(arguments, tier, root)
        for name in needed
    }
    return tuple(one for one in TOOLS if one.name in names)
