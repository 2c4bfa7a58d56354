"""The one loop that runs a step of the core against the world.

Take the effect, perform it, send the answer back or throw what went wrong. This is the single
place where effects are measured and noted for spans; it decides nothing. The core's side of the
contract stands in `fluxpay.core.effects`.
"""

from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fluxpay.core.effects import Effect, Step, Unavailable
from fluxpay.web.telemetry import PROCESS
from fluxpay.web.tracing import Answered, Recording, current_recording

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
    recording = current_recording()
    try:
        effect = next(step)
        while True:
            started_s = perf_counter()
            try:
                answer = await world.perform(effect)
            except Exception as error:  # noqa: BLE001 - the step decides what it can answer to
                _failed(recording, effect, world, started_s, error)
                effect = step.throw(error)
            except BaseException as error:
                # The request was given up: what it waited for is what there is to tell.
                _failed(recording, effect, world, started_s, error)
                raise
            else:
                _ANSWERED(type(effect), perf_counter() - started_s, answer)
                if recording is not None:
                    failure = answer if type(answer) is Unavailable else None
                    _note(recording, effect, world, started_s, failure)
                effect = step.send(answer)
    except StopIteration as decided:
        decision: T = decided.value
        return decision
    finally:
        # A cancelled request leaves its step half way: end it now, not when it is collected.
        step.close()


def _failed(
    recording: Recording | None,
    effect: Effect[Any],
    world: "World",
    started_s: float,
    error: BaseException,
) -> None:
    """Count an effect that got no answer, and keep what a span will tell of it."""
    _FAILED(type(effect), perf_counter() - started_s, error)
    if recording is not None:
        _note(recording, effect, world, started_s, error)


def _note(
    recording: Recording,
    effect: Effect[Any],
    world: "World",
    started_s: float,
    error: object | None,
) -> None:
    """Keep what a span will tell of an effect."""
    recording.answered.append(
        Answered(effect, world.origin(effect), started_s, perf_counter(), error)
    )
