"""What a field says about itself beyond its type: the notes that the CRD is generated from.

A model of `spec` or `status` carries its bounds as `msgspec.Meta` and, in `Meta.extra`, what only
Kubernetes knows: how the items of a list are told apart, and rules in CEL with the words that a
person reads when one is broken. Rules about several fields stand in the class, as `RULES`.
"""

from dataclasses import dataclass
from typing import Final

NOTE: Final = "kubernetes"
"""The key of `Meta.extra` under which a `Note` stands."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule in CEL; where it mentions `oldSelf` it holds between two versions of an object.

    Args:
        cel: What must be true, with `self` for the value that carries the rule.
        message: What to do, in words that follow the field's path and a colon.
        field: The path of the field to blame, below the value, such as `.burst`.
    """

    cel: str
    message: str
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """What only Kubernetes knows about a field.

    Args:
        unique: For a list: the member that no two items share; empty where that is the item itself.
        rules: Rules on this one value.
        form: The format of a text, such as `date-time`.
    """

    unique: str | None = None
    form: str | None = None
    rules: tuple[Rule, ...] = ()


def noted(*rules: Rule, unique: str | None = None, form: str | None = None) -> dict[str, object]:
    """The `extra` of a `Meta`, with a note in it."""
    return {NOTE: Note(unique=unique, form=form, rules=rules)}
