"""The rules as they ship, read as data.

Knows the one file of rules and the layout of Prometheus. Must not know what any rule watches.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
FILE: Final = ROOT / "charts/fluxpay/files/rules/alerts.yaml"
PLAYED: Final = Path(__file__).with_name("rules.test.yaml")


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as it is written. Args: waits: how long it has to be so; empty for at once."""

    name: str
    expr: str
    waits: str
    severity: str
    annotations: dict[str, str]


@cache
def alerts() -> tuple[Alert, ...]:
    """All alerts, in their order."""
    return tuple(
        Alert(
            rule["alert"],
            rule["expr"],
            rule.get("for", ""),
            rule["labels"]["severity"],
            rule["annotations"],
        )
        for rule in _rules()
        if "alert" in rule
    )


@cache
def recordings() -> dict[str, str]:
    """What is recorded, by name."""
    return {rule["record"]: rule["expr"] for rule in _rules() if "record" in rule}


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(FILE.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]
