"""The fields of `Tenant` as the reference page lists them, read from the definition itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fluxpay_operator.crd import definition

Schema = dict[str, Any]

_DEFAULT = re.compile(r" Default: `[^`]*`\.$")
_TYPES = {"string": "text", "integer": "integer", "object": "object"}


def schema() -> Schema:
    """The schema of the whole resource."""
    (version,) = definition()["spec"]["versions"]
    found: Schema = version["schema"]["openAPIV3Schema"]
    return found


def rows(part: Schema, path: str = "") -> Iterator[list[str]]:
    """The fields below a part of the schema: path, type, bounds, default, meaning."""
    required = part.get("required", ())
    for name, field in part["properties"].items():
        own = f"{path}{name}"
        need = "required" if name in required else _default(field)
        meaning = _DEFAULT.sub("", field["description"])
        yield [f"`{own}`", _type(field), _bounds(field), need, meaning]
        inner = field.get("items", field)
        if "properties" in inner:
            yield from rows(inner, f"{own}[]." if "items" in field else f"{own}.")


def rules(part: Schema, path: str) -> Iterator[list[str]]:
    """What must hold beyond the bounds: the path that is blamed, and the words."""
    for rule in part.get("x-kubernetes-validations", ()):
        yield [f"`{path}{rule.get('fieldPath', '')}`", rule["message"]]
    for name, field in part.get("properties", {}).items():
        yield from rules(field, f"{path}.{name}".lstrip("."))
    for inner in ("items", "additionalProperties"):
        if inner in part:
            yield from rules(part[inner], f"{path}[]")


def _type(field: Schema) -> str:
    match field:
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"type": "array", "items": items}:
            return f"list of {_plural(_type(items))}"
        case {"additionalProperties": values}:
            return f"map of {_type(values)}"
        case {"format": "duration" | "date-time" as form}:
            return {"duration": "duration", "date-time": "instant"}[form]
        case _:
            return _TYPES[field["type"]]


def _plural(kind: str) -> str:
    return "objects" if kind == "object" else kind


def _default(field: Schema) -> str:
    match field.get("default"):
        case None:
            return ""
        case str() as text:
            return f"`{text}`"
        case _:
            return "see below"


def _bounds(field: Schema) -> str:
    if field.get("format") in {"duration", "date-time"}:
        return ""
    for unit, noun in (("Length", "characters"), ("Items", "items"), ("Properties", "entries")):
        if f"max{unit}" in field:
            return _range(field.get(f"min{unit}", 0), field[f"max{unit}"], f" {noun}")
    return _range(field["minimum"], field["maximum"], "") if "maximum" in field else ""


def _range(least: int, most: int, noun: str) -> str:
    return f"{least:,} to {most:,}{noun}" if least else f"at most {most:,}{noun}"
