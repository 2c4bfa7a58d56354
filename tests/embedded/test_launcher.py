"""Who the servers run as: root, an ordinary user, a user without a name, in folders of others.

Run by root, these tests put on another user themselves; run by an ordinary user, they are one.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxpay.embedded import launcher
from tests.embedded.processes import await_nobody_below

IS_ROOT = os.geteuid() == 0
NOBODY = 65_534
NAMELESS = 54_321  # no /etc/passwd has it
# Another user may not be able to read the interpreter (it may lie in root's home); this one
# capability lets it read, and gives it no right to write.
READING = "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"

PAIR = """
import os, sys
from pathlib import Path
from fluxpay.embedded.postgres import EmbeddedPostgres
from fluxpay.embedded.valkey import EmbeddedValkey
import psycopg2, redis
for _ in range(2):
    postgres = EmbeddedPostgres.start(Path(sys.argv[1]))
    valkey = EmbeddedValkey.start(Path(sys.argv[1]))
    psycopg2.connect(postgres.app_url()).close()
    redis.Redis.from_url(valkey.url).ping()
    status = Path(f"/proc/{postgres.server.pid}/status").read_text()
    uids = next(line for line in status.splitlines() if line.startswith("Uid:"))
    valkey.stop()
    postgres.stop()
print(os.geteuid(), postgres.server.returncode, valkey.server.returncode, uids.split()[1])
"""

KILLED_PARENT = """
import os, signal, sys
from pathlib import Path
from fluxpay.embedded.postgres import EmbeddedPostgres
postgres = EmbeddedPostgres.start(Path(sys.argv[1]))
print(postgres.server.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def as_user(uid: int) -> list[str]:
    if not IS_ROOT:
        return []
    ids = [f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    return ["setpriv", *ids, *READING, "--"]


def without_home() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("HOME", "USER")}


def run(command: list[str]) -> str:
    done = subprocess.run(
        command, env=without_home(), capture_output=True, text=True, check=False, timeout=60
    )
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


def launched(directory: Path, *command: str) -> list[str]:
    start = [sys.executable, "-I", "-S", launcher.__file__, "--directory", str(directory)]
    return [*start, "--not-root", "--", *command]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user can reach, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="fluxpay-test-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def folder_of_another(open_folder: Path) -> Path:
    """A folder below one of mode 0700 that is not ours, which only root's privilege passes."""
    if IS_ROOT:
        os.chown(open_folder, NAMELESS, NAMELESS)
    return open_folder / "below"


def test_an_ordinary_user_can_start_both_servers_twice(open_folder: Path) -> None:
    user = os.geteuid()
    if IS_ROOT:
        user = NOBODY
        os.chown(open_folder, user, user)
    directory = open_folder / "below" / "fluxpay"
    out = run([*as_user(user), sys.executable, "-c", PAIR, str(directory)])
    assert f"{user} 0 0 {user}\n" == out
    assert {user} == {path.lstat().st_uid for path in directory.rglob("*")}


def test_a_folder_below_one_that_only_root_may_pass_will_do(folder_of_another: Path) -> None:
    out = run([sys.executable, "-c", PAIR, str(folder_of_another)])
    server_user = launcher._ordinary_ids()[0] if IS_ROOT else os.geteuid()
    assert f"{os.geteuid()} 0 0 {server_user}\n" == out


@pytest.mark.parametrize("folder", ["open_folder", "folder_of_another"])
def test_postgres_dies_with_its_parent_whoever_it_runs_as(
    folder: str, request: pytest.FixtureRequest
) -> None:
    directory: Path = request.getfixturevalue(folder)
    command = [sys.executable, "-c", KILLED_PARENT, str(directory)]
    killed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (-9, "") == (killed.returncode, killed.stderr)
    assert [] == await_nobody_below(directory)


def test_root_is_left_before_the_server_runs(open_folder: Path) -> None:
    script = f"id -u; touch {open_folder}/made"
    seen = int(run(launched(open_folder, "/bin/sh", "-c", script)))
    assert (True, True) == (seen != 0, (open_folder / "made").exists())


def test_a_user_without_a_name_gets_one_or_is_told_what_to_do(open_folder: Path) -> None:
    if IS_ROOT:
        os.chown(open_folder, NAMELESS, NAMELESS)
    command = launched(open_folder, "/bin/sh", "-c", f"id -un; touch {open_folder}/made")
    done = subprocess.run(
        [*as_user(NAMELESS), *command], capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode != 0:
        # Many a container runtime forbids user namespaces, and then there is no way to a name.
        assert "the kernel allows no user namespace; run as a user that" in done.stderr
        return
    assert "root" != done.stdout.strip() != ""
    owner = (open_folder / "made").stat().st_uid
    assert (NAMELESS if IS_ROOT else os.geteuid()) == owner


def test_a_child_whose_parent_is_gone_already_does_not_start(open_folder: Path) -> None:
    script = ["--", "/bin/sh", "-c", f"touch {open_folder}/made"]
    start = [sys.executable, "-I", "-S", launcher.__file__, "--parent", "1"]
    done = subprocess.run([*start, *script], check=False, timeout=60)
    assert (1, False) == (done.returncode, (open_folder / "made").exists())
