"""The life of a payment as a Mermaid state diagram, drawn from the table in the core.

`python -m tests.docs.lifecycle_diagram` prints it, for the page to be pasted into.

Knows how Mermaid spells states and arrows. Must not know any status or action: those it is told.
"""

import sys
from collections.abc import Iterator, Mapping

from fluxpay.core.payments import TRANSITIONS, Action, CaptureMode, Status

BEGINNINGS: Mapping[CaptureMode, Status] = {
    CaptureMode.AUTOMATIC: Status.CAPTURED,
    CaptureMode.MANUAL: Status.AUTHORIZED,
}
"""The status that a new payment has."""


def diagram() -> str:
    """Draw the whole table, one arrow for each pair of statuses."""
    lines = ("stateDiagram-v2", *(f"    {arrow}" for arrow in _arrows()))
    return "".join(f"{line}\n" for line in lines)


def _arrows() -> Iterator[str]:
    for mode, status in BEGINNINGS.items():
        yield f"[*] --> {status}: {mode}"
    for before, actions in TRANSITIONS.items():
        for after in Status:
            leading = [str(one) for one in Action if after in actions.get(one, ())]
            if leading:
                yield f"{before} --> {after}: {', '.join(leading)}"
        if not actions:
            yield f"{before} --> [*]"


if __name__ == "__main__":
    sys.stdout.write(diagram())
