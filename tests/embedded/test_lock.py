"""The lock on a folder: one holder, and none that is dead."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fluxpay.embedded.lock import DirectoryInUse, DirectoryLock

HOLDER = """
import signal, sys
from pathlib import Path
from fluxpay.embedded.lock import DirectoryLock
lock = DirectoryLock.take(Path(sys.argv[1]))
print("held", flush=True)
signal.pause()
"""


def test_a_second_holder_is_told_who_the_first_one_is(tmp_path: Path) -> None:
    lock = DirectoryLock.take(tmp_path)
    with pytest.raises(DirectoryInUse) as caught:
        DirectoryLock.take(tmp_path)
    lock.release()
    assert f"{tmp_path} is in use by process {os.getpid()}" == str(caught.value)
    DirectoryLock.take(tmp_path).release()


def test_the_lock_of_a_killed_process_is_free_and_its_children_do_not_keep_it(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert b"held\n" == holder.stdout.readline()
        with pytest.raises(DirectoryInUse) as caught:
            DirectoryLock.take(tmp_path)
        assert holder.pid == caught.value.pid
        holder.kill()
    lock = DirectoryLock.take(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    lock.release()
    try:
        DirectoryLock.take(tmp_path).release()
    finally:
        child.kill()
        child.wait()


def test_a_lock_file_that_is_a_symlink_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "lock").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        DirectoryLock.take(tmp_path)
    assert "precious" == victim.read_text()
