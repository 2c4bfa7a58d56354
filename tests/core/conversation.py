"""A conversation with a step: what it asks, what it is told, and what it decides.

Knows the contract of `fluxpay.core.effects` and no shell. A test writes the exchange down in full,
so a step that asks one question more, one fewer, or in another order does not pass.
"""

from typing import TypeVar

from fluxpay.core.effects import AnyEffect, Step

T = TypeVar("T")
Exchange = tuple[AnyEffect, object]
"""An effect that the step has to yield now, and the answer it then gets."""


def converse(step: Step[T], *exchanges: Exchange) -> T:
    """Drive the step through exactly these exchanges, and return its decision.

    An answer that is an exception is thrown into the step, as a shell does with what went wrong;
    what the step lets through comes out here.
    """
    asked, decision = _ask(step, None)
    for position, (expected, answer) in enumerate(exchanges):
        assert expected == asked, f"exchange {position}"
        asked, decision = _ask(step, answer)
    assert asked is None, "it asks on where a decision was expected"
    assert decision is not None
    return decision[0]


def _ask(step: Step[T], answer: object) -> tuple[object, tuple[T] | None]:
    """Give the step an answer: it asks the next question, or it has decided."""
    try:
        if isinstance(answer, Exception):
            return step.throw(answer), None
        return step.send(answer), None
    except StopIteration as end:
        return None, (end.value,)
