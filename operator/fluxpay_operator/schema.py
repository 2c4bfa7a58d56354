"""From models to structural schemas: what the API server needs to validate, default and explain.

Knows msgspec's view of a type and the OpenAPI subset of `apiextensions.k8s.io/v1`. Must not know
what any model means. Nothing may be unbounded: the server works out the worst cost of each rule
from these bounds, and an object lives in etcd. Source: JSONSchemaProps in the Kubernetes API
reference.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

import msgspec
from msgspec import inspect

from fluxpay_operator import duration
from fluxpay_operator.duration import Duration
from fluxpay_operator.schema_notes import NOTE, Note, Rule

Schema = dict[str, Any]

INTEGER_32_MAX: Final = 2**31 - 1


class Unbounded(Exception):
    """A field could grow without end; the text names it."""


def schema_of(model: type[msgspec.Struct]) -> Schema:
    """The schema of a model, with those of the models inside it.

    Raises:
        Unbounded: A text, number, list or map has no limit.
    """
    info = inspect.type_info(model)
    if not isinstance(info, inspect.StructType):
        raise TypeError(f"{model.__name__} is not a struct")
    return _struct(info, model.__name__)


def _struct(info: inspect.StructType, path: str) -> Schema:
    properties = {field.encode_name: _field(field, path) for field in info.fields}
    schema: Schema = {"type": "object", "description": _summary(info.cls), "properties": properties}
    required = [field.encode_name for field in info.fields if field.required]
    return {
        **schema,
        **({"required": required} if required else {}),
        **validations(getattr(info.cls, "RULES", ())),
    }


def _field(field: inspect.Field, path: str) -> Schema:
    schema = _schema(field.type, f"{path}.{field.encode_name}")
    default = _default(field)
    if isinstance(default, str):
        # `kubectl explain` shows descriptions, and no defaults.
        schema["description"] = f"{schema['description']} Default: `{default}`."
    return schema if default is None else {**schema, "default": default}


def _schema(wanted: inspect.Type, path: str) -> Schema:
    bare, description, note = _unwrapped(wanted)
    schema = _bare(bare, path)
    if note.form is not None:
        schema["format"] = note.form
    if note.unique is not None:
        schema.update(_uniqueness(note.unique))
    schema.update(validations(note.rules))
    if description is not None:
        schema["description"] = description
    return schema


def _bare(wanted: inspect.Type, path: str) -> Schema:
    match wanted:
        case inspect.StructType():
            return _struct(wanted, path)
        case inspect.EnumType(cls=cls):
            return {"type": "string", "enum": [member.value for member in cls]}
        case inspect.CustomType(cls=cls) if cls is Duration:
            return {
                "type": "string",
                "format": "duration",
                "maxLength": duration.CHARS_MAX,
                "pattern": duration.PATTERN,
            }
        case inspect.StrType():
            return {"type": "string", **_lengths(wanted, path, unit="Length")}
        case inspect.IntType():
            return _integer(wanted, path)
        case inspect.VarTupleType(item_type=item):
            return {
                "type": "array",
                **_lengths(wanted, path, unit="Items"),
                "items": _schema(item, f"{path}[]"),
            }
        case inspect.DictType(value_type=value):
            return {
                "type": "object",
                **_lengths(wanted, path, unit="Properties"),
                "additionalProperties": _schema(value, f"{path}[]"),
            }
        case _:
            raise TypeError(f"{path}: {wanted} has no schema")


def _integer(wanted: inspect.IntType, path: str) -> Schema:
    if wanted.ge is None or wanted.le is None:
        raise Unbounded(path)
    form = "int32" if wanted.le <= INTEGER_32_MAX else "int64"
    return {"type": "integer", "format": form, "minimum": wanted.ge, "maximum": wanted.le}


def _lengths(
    wanted: inspect.StrType | inspect.VarTupleType | inspect.DictType, path: str, *, unit: str
) -> Schema:
    if wanted.max_length is None:
        raise Unbounded(path)
    least = {} if wanted.min_length is None else {f"min{unit}": wanted.min_length}
    return {**least, f"max{unit}": wanted.max_length}


def _uniqueness(member: str) -> Schema:
    if member == "":
        return {"x-kubernetes-list-type": "set"}
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [member]}


def validations(rules: tuple[Rule, ...]) -> Schema:
    """The rules as the server reads them; nothing where there are none."""
    if not rules:
        return {}
    return {
        "x-kubernetes-validations": [
            {
                "rule": rule.cel,
                "message": rule.message,
                **({} if rule.field is None else {"fieldPath": rule.field}),
            }
            for rule in rules
        ]
    }


def _default(field: inspect.Field) -> str | Schema | None:
    """What the server fills in: a default is written once, in the model."""
    match field.default:
        case Enum() as member:
            return str(member.value)
        case Duration() as text:
            return str(text)
        case msgspec.Struct() as value:
            # In full: the server checks a default before it fills in those of the members.
            members = msgspec.to_builtins(value, enc_hook=str)
            return {name: one for name, one in members.items() if one is not None}
        case _:
            return None


def _unwrapped(wanted: inspect.Type) -> tuple[inspect.Type, str | None, Note]:
    """The type behind its notes and behind "or null", its description and its note."""
    description: str | None = None
    note = Note()
    while True:
        match wanted:
            case inspect.Metadata(type=inner):
                description = description or (wanted.extra_json_schema or {}).get("description")
                found = (wanted.extra or {}).get(NOTE)
                note = _joined(note, found) if isinstance(found, Note) else note
                wanted = inner
            case inspect.UnionType(types=types):
                (wanted,) = (one for one in types if not isinstance(one, inspect.NoneType))
            case _:
                return wanted, description, note


def _joined(outer: Note, inner: Note) -> Note:
    return Note(
        unique=outer.unique if outer.unique is not None else inner.unique,
        form=outer.form or inner.form,
        rules=(*inner.rules, *outer.rules),
    )


def _summary(model: type) -> str:
    return (model.__doc__ or "").partition("\n")[0]
