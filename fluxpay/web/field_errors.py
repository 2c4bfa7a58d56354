"""The walk that finds every fault of a document, field by field, against the type it should have.

It is taken only when msgspec has refused a document, or when a model carries rules that a type
cannot say. A field may carry, in `Meta(extra=...)`, `expects` (a phrase that follows "Must be")
and `rule` (a function from the JSON value to a complaint or None). A struct may have `faults`, for
what concerns several of its fields. A detail never repeats what was sent.

Must not know what any of the models mean. Source: RFC 6901, section 6 (pointers as URI fragments).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

import msgspec
from msgspec import inspect

from fluxpay.core.problems import FieldError

if TYPE_CHECKING:
    from collections.abc import Mapping

_Listed: TypeAlias = inspect.VarTupleType | inspect.FrozenSetType
_Counted: TypeAlias = _Listed | inspect.DictType | inspect.StrType


def faults(document: object, model: type[msgspec.Struct]) -> Iterator[FieldError]:
    """Every fault of the document, in the order of the model's fields."""
    return _struct_faults(document, struct_of(model), "#")


def member(pointer: str, name: str) -> str:
    """The pointer to a member of what this pointer points to."""
    escaped = name.replace("~", "~0").replace("/", "~1")
    return f"{pointer}/{quote(escaped, safe='~', errors='replace')}"


@cache
def struct_of(model: type[msgspec.Struct]) -> inspect.StructType:
    """What msgspec knows of a model."""
    info = inspect.type_info(model)
    if not isinstance(info, inspect.StructType):
        message = f"{model.__name__} is not a struct"
        raise TypeError(message)
    return info


@cache
def has_rules(model: type[msgspec.Struct]) -> bool:
    """Whether the model, or one inside it, has a rule that msgspec does not know."""
    if hasattr(model, "faults"):
        return True
    return any(_carries_rules(field.type) for field in struct_of(model).fields)


def _carries_rules(wanted: inspect.Type) -> bool:
    bare, notes = unwrapped(wanted)
    if "rule" in notes:
        return True
    if isinstance(bare, inspect.StructType):
        return has_rules(bare.cls)
    if isinstance(bare, inspect.DictType):
        return _carries_rules(bare.value_type)
    return isinstance(bare, _Listed) and _carries_rules(bare.item_type)


def unwrapped(wanted: inspect.Type) -> tuple[inspect.Type, Mapping[str, Any]]:
    """The bare type of a field and the notes it carries, `| None` and annotations taken off."""
    notes: dict[str, Any] = {}
    while True:
        if isinstance(wanted, inspect.Metadata):
            notes |= wanted.extra or {}
            wanted = wanted.type
        elif isinstance(wanted, inspect.UnionType):
            (wanted,) = (one for one in wanted.types if not isinstance(one, inspect.NoneType))
        else:
            return wanted, notes


def _value_faults(value: object, wanted: inspect.Type, pointer: str) -> Iterator[FieldError]:
    if value is None and _takes_null(wanted):
        return
    bare, notes = unwrapped(wanted)
    found = False
    for fault in _shape_faults(value, bare, pointer=pointer, expects=notes.get("expects")):
        found = True
        yield fault
    complaint = None if found or "rule" not in notes else notes["rule"](value)
    if complaint is not None:
        yield FieldError(pointer, complaint)


def _takes_null(wanted: inspect.Type) -> bool:
    if isinstance(wanted, inspect.Metadata):
        return _takes_null(wanted.type)
    if isinstance(wanted, inspect.UnionType):
        return any(isinstance(one, inspect.NoneType) for one in wanted.types)
    return False


def _shape_faults(
    value: object, bare: inspect.Type, *, pointer: str, expects: str | None
) -> Iterator[FieldError]:
    if isinstance(bare, inspect.StructType):
        yield from _struct_faults(value, bare, pointer)
    elif isinstance(bare, inspect.DictType):
        yield from _map_faults(value, bare, pointer)
    elif isinstance(bare, _Listed):
        yield from _list_faults(value, bare, pointer)
    elif not _is_leaf_valid(value, bare):
        yield FieldError(pointer, f"Must be {expects or _expectation(bare)}.")


def _struct_faults(value: object, info: inspect.StructType, pointer: str) -> Iterator[FieldError]:
    if not isinstance(value, dict):
        yield FieldError(pointer, "Must be an object.")
        return
    found = False
    for fault in _member_faults(value, info, pointer):
        found = True
        yield fault
    if not found and hasattr(info.cls, "faults"):
        own: Iterable[tuple[str, str]] = msgspec.convert(value, info.cls).faults()
        yield from (FieldError(pointer + path, detail) for path, detail in own)


def _member_faults(
    value: dict[str, object], info: inspect.StructType, pointer: str
) -> Iterator[FieldError]:
    for field in info.fields:
        below = member(pointer, field.encode_name)
        if field.encode_name in value:
            yield from _value_faults(value[field.encode_name], field.type, below)
        elif field.required:
            yield FieldError(below, "Is required.")
    known = {field.encode_name for field in info.fields}
    for name in value:
        if name not in known:
            yield FieldError(member(pointer, name), "Is not known here.")


def _map_faults(value: object, info: inspect.DictType, pointer: str) -> Iterator[FieldError]:
    if not isinstance(value, dict):
        yield FieldError(pointer, "Must be an object.")
        return
    if not _is_counted(len(value), info.min_length, info.max_length):
        yield FieldError(pointer, f"Must be an object {_span(info, 'members')}.")
    for name, one in value.items():
        below = member(pointer, name)
        if not _is_leaf_valid(name, unwrapped(info.key_type)[0]):
            expectation = _expectation(unwrapped(info.key_type)[0])
            yield FieldError(below, f"The name must be {expectation}.")
        yield from _value_faults(one, info.value_type, below)


def _list_faults(value: object, info: _Listed, pointer: str) -> Iterator[FieldError]:
    if not isinstance(value, list):
        yield FieldError(pointer, f"Must be a list {_span(info, 'items')}.")
        return
    if not _is_counted(len(value), info.min_length, info.max_length):
        yield FieldError(pointer, f"Must be a list {_span(info, 'items')}.")
    for position, one in enumerate(value):
        yield from _value_faults(one, info.item_type, f"{pointer}/{position}")


def _is_counted(count: int, least: int | None, most: int | None) -> bool:
    return (least or 0) <= count and (most is None or count <= most)


def _is_leaf_valid(value: object, bare: inspect.Type) -> bool:
    match bare:
        case inspect.IntType():
            is_number = isinstance(value, int) and not isinstance(value, bool)
            return is_number and _is_within(value, bare)
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.StrType():
            return isinstance(value, str) and _is_text(value, bare)
        case inspect.EnumType(cls=closed):
            return isinstance(value, str) and value in {one.value for one in closed}
        case inspect.LiteralType(values=values):
            return isinstance(value, str) and value in values
        case inspect.DateTimeType():
            return isinstance(value, str) and _is_instant(value)
        case _:
            message = f"models must not use {type(bare).__name__}"
            raise TypeError(message)


def _is_within(value: Any, bare: inspect.IntType) -> bool:
    return (bare.ge is None or value >= bare.ge) and (bare.le is None or value <= bare.le)


def _is_text(value: str, bare: inspect.StrType) -> bool:
    if not _is_counted(len(value), bare.min_length, bare.max_length):
        return False
    return bare.pattern is None or re.search(bare.pattern, value) is not None


def _is_instant(value: str) -> bool:
    try:
        # The decoder's own reading, so that this never disagrees with it.
        return msgspec.convert(value, datetime).tzinfo is not None
    except (msgspec.ValidationError, UnicodeEncodeError):
        return False


def _expectation(bare: inspect.Type) -> str:
    """What a leaf must be, in words."""
    match bare:
        case inspect.IntType(ge=least, le=most):
            return f"a whole number from {least} to {most}"
        case inspect.BoolType():
            return "true or false"
        case inspect.StrType():
            return f"text {_span(bare, 'characters')}"
        case inspect.EnumType(cls=closed):
            return _one_of(one.value for one in closed)
        case inspect.LiteralType(values=values):
            return _one_of(values)
        case _:
            return "an instant with its zone (RFC 3339), such as 2026-01-31T12:00:00Z"


def _one_of(values: Iterable[object]) -> str:
    names = [str(value) for value in values]
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"


def _span(info: _Counted, noun: str) -> str:
    least, most = info.min_length, info.max_length
    if most is None:
        return f"of {noun}" if least is None else f"of at least {least} {noun}"
    if least == most:
        return f"of {most} {noun}"
    return f"of {least} to {most} {noun}" if least else f"of at most {most} {noun}"
