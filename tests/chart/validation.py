"""What a cluster of some version would find wrong with an object, without a cluster.

Knows the schemas that the package kubernetes-validate brings for each version, and our own of the
kinds of others. The package's own function reads two megabytes for every object; here they are read
once. Must not know the chart.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.chart.helm import Object, label

_BUNDLED: Final = files("kubernetes_validate") / "kubernetes-json-schema"
_FOREIGN: Final[dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("foreign_kinds.yaml").read_text("utf-8")
)["kinds"]
_SHOWN: Final = 300


def faults(of: Object, version: str) -> list[str]:
    """What is wrong with an object on a version such as `1.37`; unknown fields are.

    Raises:
        FileNotFoundError: That version has no such kind.
    """
    # Most objects are the same in every case, and large ones take a second.
    return _faults(json.dumps(of), version)


@cache
def _faults(text: str, version: str) -> list[str]:
    of = json.loads(text)
    foreign = _FOREIGN.get(f"{of['apiVersion']} {of['kind']}")
    if foreign is None:
        found = list(_validator(version, of["apiVersion"], of["kind"]).iter_errors(of))
    else:
        assert set(of) <= {"apiVersion", "kind", "metadata", "spec"}
        found = list(Draft202012Validator(foreign).iter_errors(of["spec"]))
    return [f"{label(of)} on {version}: {one.json_path} {one.message[:_SHOWN]}" for one in found]


@cache
def _validator(version: str, api_version: str, kind: str) -> Draft202012Validator:
    # The schemas of `rbac.authorization.k8s.io/v1` are called `…-rbac-v1`, those of `v1` `…-v1`.
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    schema = _read(version, f"{kind.lower()}-{group}.json")
    return Draft202012Validator(schema, registry=_registry(version))


@cache
def _registry(version: str) -> Registry[Any]:
    definitions = Resource.from_contents(
        _read(version, "_definitions.json"), default_specification=DRAFT202012
    )
    registry: Registry[Any] = Registry().with_resource(definitions.id() or "", definitions)
    return registry


def _read(version: str, name: str) -> Any:
    return json.loads((_BUNDLED / f"v{version}.0-local-strict" / name).read_text("utf-8"))
