"""Lines of progress for set-ups that take longer than a reader's patience.

Knows: that pytest catches what a test writes. Must not know: what is told.
"""

import sys
from collections.abc import Callable

import pytest

Tell = Callable[[str], None]


def teller(config: pytest.Config) -> Tell:
    """Give a function that writes one line to the terminal, whatever pytest catches."""
    capture = config.pluginmanager.getplugin("capturemanager")

    def tell(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"image: {line}", file=sys.stderr, flush=True)  # noqa: T201 - it is for a reader

    return tell
