"""The CustomResourceDefinition of `Tenant`, generated from the models of spec and status.

    python -m fluxpay_operator.crd > FILE

Knows what a definition holds beyond its schema: names, columns, the status subresource. The chart
ships what this prints (`make crd` writes it there), and a test holds the two together.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import yaml

from fluxpay_operator.rules import RESOURCE
from fluxpay_operator.schema import schema_of, validations
from fluxpay_operator.spec import GROUP, KIND, PLURAL, VERSION, Spec
from fluxpay_operator.status import Status

_HEADER: Final = "# Generated from operator/fluxpay_operator by `make crd`; change the models.\n"


def _condition(kind: str, member: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{member}'


# Of an instant in the future a column of type `date` shows `<invalid>`: it prints ages.
_COLUMNS: Final = (
    ("State", "string", ".spec.state", 0),
    ("Env", "string", ".spec.environment", 0),
    ("Ready", "string", _condition("Ready", "status"), 0),
    ("Reason", "string", _condition("Ready", "reason"), 0),
    ("Keys", "string", ".status.keysReady", 0),
    ("Next-Rotation", "string", ".status.nextRotation", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Message", "string", _condition("Ready", "message"), 1),
    ("TenantID", "string", ".status.tenantID", 1),
)


def definition() -> dict[str, Any]:
    """The whole CustomResourceDefinition, as JSON values."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["ten"],
                "categories": ["fluxpay"],
            },
            "scope": "Namespaced",
            "versions": [_version()],
        },
    }


def manifest() -> str:
    """The definition as a file that kubectl applies."""
    return _HEADER + yaml.safe_dump(definition(), sort_keys=False, width=100, allow_unicode=True)


def _version() -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {
                "name": name,
                "type": kind,
                "jsonPath": path,
                **({"priority": priority} if priority else {}),
            }
            for name, kind, path, priority in _COLUMNS
        ],
        "schema": {"openAPIV3Schema": _resource()},
    }


def _resource() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "A tenant of FluxPay: its limits, and the API keys that the operator issues "
        "into Secrets and rotates.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": schema_of(Spec),
            "status": schema_of(Status),
        },
        **validations(RESOURCE),
    }


if __name__ == "__main__":
    sys.stdout.write(manifest())
