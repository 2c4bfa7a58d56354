"""Builds the tools that a test run needs: `python -m tests.toolbox [arguments of pytest]`."""

import sys

from tests.toolbox.debian import fetch_packages
from tests.toolbox.environments import make_environments
from tests.toolbox.golang import BuildFailed
from tests.toolbox.places import ROOT
from tests.toolbox.supply import supply
from tests.toolbox.tools import needed_for


def main(arguments: list[str]) -> int:
    """Build what is missing; tell in one line why it failed, if it did."""
    try:
        supply(needed_for(arguments, ROOT), sys.stderr)
        make_environments(arguments, ROOT, sys.stderr)
        fetch_packages(arguments, ROOT, sys.stderr)
    except BuildFailed as failure:
        print(f"tools: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
