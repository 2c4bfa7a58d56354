"""Validation: a decoded document, or a query, becomes a typed value or a list of all its faults.

msgspec checks the good case in one call. Only when it refuses, or when a model carries rules that
a type cannot say, is the document walked field by field, so that a client is told everything at
once, each fault by its JSON pointer and in words for a person; the walk stands in `faults`.

Must not know what any of the models mean.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from msgspec import inspect

from fluxpay.core.problems import Code, FieldError, Refused
from fluxpay.web.field_errors import faults, has_rules, member, struct_of, unwrapped

if TYPE_CHECKING:
    from multidict import MultiMapping

T = TypeVar("T", bound=msgspec.Struct)

ERRORS_MAX: Final = 100
"""The most faults that one refusal lists."""

_WHOLE_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


def parse(document: object, model: type[T]) -> T | Refused:
    """Read a decoded JSON document as this model, or tell every field that is wrong."""
    return _read(document, model, code=Code.VALIDATION_FAILED, noun="field")


def parse_query(query: MultiMapping[str], model: type[T]) -> T | Refused:
    """Read query parameters as this model, or tell every parameter that is wrong."""
    repeated = sorted({name for name in query if len(query.getall(name)) > 1})
    if repeated:
        repeats = [FieldError(member("#", name), "Must be given once.") for name in repeated]
        return _refused(repeats, code=Code.INVALID_PARAMETER, noun="parameter")
    document = _numbers_read(query, model)
    return _read(document, model, code=Code.INVALID_PARAMETER, noun="parameter")


def invalid(*errors: FieldError, code: Code = Code.VALIDATION_FAILED) -> Refused:
    """The refusal for faults that were found elsewhere."""
    noun = "parameter" if code is Code.INVALID_PARAMETER else "field"
    return _refused(list(errors), code=code, noun=noun)


def distinct(items: list[object]) -> str | None:
    """A rule for lists of text: no item twice."""
    return None if len(set(items)) == len(items) else "Must not hold an item twice."


def _read(document: object, model: type[T], *, code: Code, noun: str) -> T | Refused:
    try:
        value = msgspec.convert(document, model)
    except (msgspec.ValidationError, UnicodeEncodeError):
        # Should the walk ever be more lenient than msgspec, then msgspec still has the last word.
        found = _listed(document, model) or [FieldError("#", "Is not valid.")]
        return _refused(found, code=code, noun=noun)
    if not has_rules(model):
        return value
    found = _listed(document, model)
    return _refused(found, code=code, noun=noun) if found else value


def _listed(document: object, model: type[msgspec.Struct]) -> list[FieldError]:
    # One more than is shown, to tell that there are more.
    return list(islice(faults(document, model), ERRORS_MAX + 1))


def _refused(found: list[FieldError], *, code: Code, noun: str) -> Refused:
    shown = tuple(found[:ERRORS_MAX])
    if len(found) > ERRORS_MAX:
        return Refused(code, f"More than {ERRORS_MAX} {noun}s are not valid.", errors=shown)
    many = f"1 {noun} is" if len(shown) == 1 else f"{len(shown)} {noun}s are"
    return Refused(code, f"{many} not valid.", errors=shown)


def _numbers_read(query: MultiMapping[str], model: type[msgspec.Struct]) -> dict[str, object]:
    """A query as a document: it has only text, so where a number belongs it is read as one."""
    document: dict[str, object] = dict(query)
    for name in _number_names(model) & query.keys():
        if _WHOLE_NUMBER.fullmatch(query[name]):
            document[name] = int(query[name])
    return document


@cache
def _number_names(model: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(
        field.encode_name
        for field in struct_of(model).fields
        if isinstance(unwrapped(field.type)[0], inspect.IntType)
    )
