"""`make setup` on a machine that has never seen FluxPay: no home, no cache, no rights.

Knows: the Makefile's promise to a newcomer and to CI. Must not know: how set-up goes about it,
except for the stamp that says it is complete. The files tested are the working tree's, as a clone
of it would hold them: all that git tracks or would track, and nothing that it ignores.

One real set-up serves all tests here, since it takes a minute. Root runs it as a normal user, so
that a file only root may touch is noticed.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65534
# How this machine reaches its package registry is all that a newcomer brings along.
KEPT_PREFIXES = ("PIP_", "SSL_")
KEPT_NAMES = ("REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy")
PYTHONS = "python3.14 python3.13 python3.12 python3.11 python3 /usr/bin/python3"

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True, slots=True)
class Clone:
    """A copy of the working tree, and the bare environment it is used from."""

    folder: Path
    home: Path
    uid: int | None
    set_up_output: str = ""

    @property
    def stamp(self) -> Path:
        return self.folder / ".venv" / "setup.stamp"

    def run(self, *command: str | Path) -> str:
        """Run a command as the newcomer; any failure shows all that was said."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=bare_environment(self.home),
            user=self.uid,
            group=self.uid,
            extra_groups=None if self.uid is None else [],
            umask=0o077,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


def bare_environment(home: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(KEPT_PREFIXES) or name in KEPT_NAMES
    }
    path = f"{home.with_name('tools')}:{os.environ['PATH']}"
    return {**kept, "PATH": path, "HOME": str(home)}


def newcomer(home: Path) -> int | None:
    """A uid without rights, or None where we have none to give up.

    Nor is there one to take where Python is installed for root alone: then root is the newcomer.
    """
    if os.geteuid() != 0:
        return None
    looked = subprocess.run(
        ["sh", "-c", f'for p in {PYTHONS}; do "$p" -c "import ensurepip" && exit; done; exit 1'],
        cwd="/",
        env=bare_environment(home),
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        check=False,
    )
    return NOBODY if looked.returncode == 0 else None


def copy_tracked_files(target: Path) -> None:
    # Whoever runs this may not own the checkout, which git would otherwise refuse to read.
    git = ["git", "-c", f"safe.directory={ROOT}"]
    listed = subprocess.run(
        [*git, "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def give_away(folder: Path, uid: int) -> None:
    for parent, _, names in os.walk(folder):
        for path in (parent, *(os.path.join(parent, name) for name in names)):  # noqa: PTH118
            os.chown(path, uid, uid)


def lay_tripwire(home: Path) -> None:
    """Put a compiler on PATH that writes to HOME when asked for its version.

    pip asks for it to introduce itself to the registry, and rustup's does write: that is how a home
    once came into being. It stands in for every program that takes HOME for a folder.
    """
    compiler = home.with_name("tools") / "rustc"
    compiler.parent.mkdir()
    compiler.write_text('#!/bin/sh\nmkdir -p "$HOME/.rustup"\n')
    compiler.chmod(0o755)


@pytest.fixture(scope="module")
def clone() -> Iterator[Clone]:
    # pytest's own tmp_path lies below a folder that only its owner may enter.
    with tempfile.TemporaryDirectory(prefix="fluxpay clone ") as parent:
        Path(parent).chmod(0o755)
        folder, home = Path(parent, "checkout"), Path(parent, "no-home")
        folder.mkdir()
        copy_tracked_files(folder)
        lay_tripwire(home)
        uid = newcomer(home)
        if uid is not None:
            give_away(Path(parent), uid)
        fresh = Clone(folder, home, uid)
        fresh.run("git", "init", "--quiet")
        fresh.run("git", "add", "--all")
        yield Clone(folder, home, uid, fresh.run("make", "setup"))


def test_a_fresh_clone_sets_itself_up_and_says_how_far_it_is(clone: Clone) -> None:
    stages = [line.split(":")[0] for line in clone.set_up_output.splitlines()]
    assert ["setup"] * 4 == stages
    assert clone.set_up_output.endswith("setup: done\n")


def test_the_command_answers_after_set_up(clone: Clone) -> None:
    told = clone.run(clone.folder / ".venv" / "bin" / "fluxpay", "--help")
    assert {"dev", "serve", "migrate"} <= set(re.split(r"[\s{},]+", told))


def test_set_up_and_a_first_run_leave_nothing_that_git_would_take(clone: Clone) -> None:
    clone.run(clone.folder / ".venv" / "bin" / "fluxpay", "--help")
    untracked = [
        line
        for line in clone.run("git", "status", "--porcelain").splitlines()
        if line.startswith("??")
    ]
    assert [] == untracked


def test_set_up_leaves_nothing_in_a_home_that_does_not_exist(clone: Clone) -> None:
    assert clone.stamp.exists()
    assert not clone.home.exists()


def test_set_up_repeated_does_nothing(clone: Clone) -> None:
    before = clone.stamp.stat()
    told = clone.run("make", "setup")
    after = clone.stamp.stat()
    assert told == ""
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_set_up_that_was_interrupted_is_taken_up_again(clone: Clone) -> None:
    clone.stamp.unlink()
    told = clone.run("make", "setup")
    assert told.startswith("setup: keeping .venv")
    assert clone.stamp.exists()


def test_set_up_notices_a_new_lock(clone: Clone) -> None:
    before = clone.stamp.read_text()
    with (clone.folder / "requirements.lock").open("a") as lock:
        lock.write("# one more line\n")
    told = clone.run("make", "setup")
    assert told.startswith("setup: keeping .venv")
    assert before != clone.stamp.read_text()
