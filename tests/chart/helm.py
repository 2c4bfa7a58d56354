"""The real helm over our chart, and the cases that are rendered.

Knows how helm is called and how what it renders is read. Must not know what the chart should hold.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import yaml

from tests.toolbox.supply import program

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "charts" / "fluxpay"
PRESETS: Final = ROOT / "deploy" / "presets"
OWN_VALUES: Final = Path(__file__).with_name("values")
RELEASE: Final = "fluxpay"
NAMESPACE: Final = "fluxpay"

Object = dict[str, Any]


def _values(*paths: Path) -> tuple[str, ...]:
    return tuple(f"--values={path}" for path in paths)


def _presets(*names: str) -> tuple[str, ...]:
    return _values(*(PRESETS / f"{name}.yaml" for name in names))


CASES: Final = MappingProxyType(
    {
        "default": (),
        **{path.stem: _values(path) for path in sorted(PRESETS.glob("*.yaml"))},
        "everything": _values(OWN_VALUES / "everything.yaml"),
        "plain-http": _values(OWN_VALUES / "plain-http.yaml"),
        "migration-job": ("--set=migration.mode=job",),
        "migration-init": ("--set=migration.mode=init",),
        "migration-none": ("--set=migration.mode=none",),
        "on-premises": _presets("ha", "cnpg", "redis-cluster", "eso", "otel"),
        "on-azure": _presets("ha", "aks", "keyvault-csi", "otel", "azuremonitor"),
    }
)
"""What is rendered: the defaults, every preset, what presets leave out, and presets together."""


@dataclass(frozen=True, slots=True)
class Told:
    """What helm said."""

    code: int
    out: str
    err: str


def helm(*arguments: str, environ: dict[str, str] | None = None) -> Told:
    """Run helm, with nothing of the caller's own but what is given."""
    with tempfile.TemporaryDirectory(prefix="fluxpay-helm-") as home:
        told = subprocess.run(
            [program("helm"), *arguments],
            env={"HOME": home, "PATH": "/usr/bin:/bin", **(environ or {})},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    return Told(told.returncode, told.stdout, told.stderr)


def template(*arguments: str, chart: Path = CHART) -> Told:
    """Render the chart as text."""
    return helm("template", RELEASE, str(chart), f"--namespace={NAMESPACE}", *arguments)


@cache
def rendered(case: str) -> str:
    """The text of a case."""
    told = template(*CASES[case])
    assert (0, "") == (told.code, told.err)
    return told.out


@cache
def objects(case: str) -> tuple[Object, ...]:
    """The objects of a case, hooks too."""
    return tuple(parsed(rendered(case)))


def made(*options: str, chart: Path = CHART) -> list[Object]:
    """The objects that helm makes with options of the test's own."""
    told = template(*options, chart=chart)
    assert (0, "") == (told.code, told.err)
    return list(parsed(told.out))


def parsed(text: str) -> Iterator[Object]:
    """The objects of a rendered text."""
    return (found for found in yaml.load_all(text, Loader=yaml.CSafeLoader) if found is not None)


def of_kind(case: str, *kinds: str) -> list[Object]:
    """The objects of these kinds."""
    return [one for one in objects(case) if one["kind"] in kinds]


def one(case: str, kind: str, name: str) -> Object:
    """The object of a kind and name; there has to be just one."""
    (found,) = (found for found in of_kind(case, kind) if found["metadata"]["name"] == name)
    return found


def label(of: Object) -> str:
    """What an object is called in a message."""
    return f"{of['kind']}/{of['metadata']['name']}"


def pod_of(of: Object) -> Object | None:
    """The template of an object's pods, or the object if it is a pod; None if it makes none."""
    match of["kind"]:
        case "Deployment" | "Job":
            template_: Object = of["spec"]["template"]
            return template_
        case "Pod":
            return of
        case _:
            return None


def pods(case: str) -> dict[str, Object]:
    """The pod templates of a case, by what makes them."""
    return {label(one): pod for one in objects(case) if (pod := pod_of(one)) is not None}


def containers(pod: Object) -> list[Object]:
    """All containers of a pod, those of its start first."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
