"""The one loop that runs a step of the core against the world.

Take the effect, perform it, send the answer back or throw what went wrong. This is the single
place where effects are measured; it decides nothing. The core's side of the contract stands in
`fluxpay.core.effects`.
"""

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Final, TypeVar

from fluxpay.core.effects import Step
from fluxpay.web.telemetry import PROCESS

if TYPE_CHECKING:
    from fluxpay.web.world import World

T = TypeVar("T")

_ANSWERED: Final = PROCESS.effect_answered
_FAILED: Final = PROCESS.effect_failed


async def drive(step: Step[T], world: "World") -> T:
    """Run a step to its decision.

    Raises:
        Exception: Whatever the world raised, if the step had no answer to it.
    """
    try:
        effect = next(step)
        while True:
            started_s = perf_counter()
            try:
                answer = await world.perform(effect)
            except Exception as error:  # noqa: BLE001 - the step decides what it can answer to
                _FAILED(type(effect), perf_counter() - started_s, error)
                effect = step.throw(error)
            except asyncio.CancelledError as error:
                # A request that ran out of time spent it on this.
                _FAILED(type(effect), perf_counter() - started_s, error)
                raise
            else:
                _ANSWERED(type(effect), perf_counter() - started_s, answer)
                effect = step.send(answer)
    except StopIteration as decided:
        decision: T = decided.value
        return decision
    finally:
        # A cancelled request leaves its step half way: end it now, not when it is collected.
        step.close()
