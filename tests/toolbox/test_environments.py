"""A program that contradicts our lock has an environment of its own, whole or not at all."""

from __future__ import annotations

import re
import subprocess
from io import StringIO
from pathlib import Path

import pytest

from tests.toolbox import environments
from tests.toolbox.environments import ENVIRONMENTS, Environment, make_environments, python_of
from tests.toolbox.golang import BuildFailed
from tests.toolbox.places import ROOT
from tests.toolbox.supply import ToolMissing

SMALL = "iniconfig"


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lock of an environment with one small package, as our own lock pins it."""
    lock = tmp_path / "small.lock"
    pins = (ROOT / "requirements.lock").read_text("utf-8")
    found = re.search(rf"^{SMALL}==.*(\n    --hash.*)+", pins, re.MULTILINE)
    assert found is not None
    lock.write_text(f"{found[0]}\n")
    monkeypatch.setattr(Environment, "lock", property(lambda _: lock))
    monkeypatch.setattr(environments, "ENVIRONMENTS", (Environment("small", "tests/chart"),))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return lock


def test_an_environment_is_made_once_and_only_for_the_tests_that_need_it(small: Path) -> None:
    out = StringIO()
    make_environments(["tests/core"], ROOT, out)
    assert "" == out.getvalue()
    with pytest.raises(ToolMissing, match="run `make tools`, once"):
        python_of("small")
    make_environments(["tests/chart"], ROOT, out)
    assert "tools: installing small and its 1 packages, once\n" == out.getvalue()
    told = subprocess.run(
        [python_of("small"), "-c", f"import {SMALL}; print({SMALL}.__file__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.startswith(str(small.parent / "cache"))
    make_environments([], ROOT, out)
    assert 1 == out.getvalue().count("installing")


def test_a_package_that_was_tampered_with_is_refused_and_leaves_nothing(small: Path) -> None:
    small.write_text(re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", small.read_text("utf-8")))
    with pytest.raises(BuildFailed, match="small could not be installed"):
        make_environments([], ROOT, StringIO())
    kept = small.parent / "cache" / "fluxpay" / "tools"
    assert ["lock"] == [path.name for path in kept.iterdir()]


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda one: one.name)
def test_a_lock_names_hashes_and_no_host(environment: Environment) -> None:
    lines = environment.lock.read_text("utf-8").splitlines()
    pins = [line for line in lines if re.match(r"[a-z0-9]", line)]
    assert [] == [line for line in pins if not re.match(r"[a-z0-9-]+==[^ ]+ ", line)]
    assert [] == [line for line in lines if "://" in line or " @ " in line or "--index" in line]
    assert len(pins) <= sum("--hash=sha256:" in line for line in lines)
