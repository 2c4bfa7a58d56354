"""Which Python `make setup` takes, of those that are there."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Answers what set-up asks of an interpreter, and ends where it would have to work.
STAND_IN = """#!/bin/sh
case "$*" in
    --version) echo '{name}' ;;
    *enable-optimizations*) exit {optimized} ;;
    -c*) exit 0 ;;
    *) exit 7 ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What set-up reads, and two interpreters in front of all others: only the second optimized."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy2(ROOT / name, tmp_path / name)
    for name, optimized in (("python3.14", 1), ("python3.13", 0)):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(STAND_IN.format(name=name, optimized=optimized))
        program.chmod(0o755)
    return tmp_path


def taken(checkout: Path, *arguments: str) -> list[str]:
    """The interpreter that set-up says it takes."""
    path = f"{checkout / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["make", "setup", *arguments],
        cwd=checkout,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    said = "setup: making .venv with "
    return [line.removeprefix(said) for line in done.stdout.splitlines() if line.startswith(said)]


def test_an_optimized_python_is_taken_before_a_newer_one_that_is_not(checkout: Path) -> None:
    assert ["python3.13"] == taken(checkout)


def test_a_python_that_is_named_is_taken_as_it_is(checkout: Path) -> None:
    assert ["python3.14"] == taken(checkout, "PYTHON=python3.14")
