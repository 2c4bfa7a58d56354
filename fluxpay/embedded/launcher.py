"""The step between this process and a server's: who it runs as, and that it dies with its parent.

    python -m fluxpay.embedded.launcher [--parent PID] [--signal NAME] [--directory DIR]
                                        [--not-root] -- program argument...

Knows: user namespaces, capabilities and PR_SET_PDEATHSIG (unshare(2), user_namespaces(7),
capabilities(7), prctl(2)), and that Postgres refuses to run as uid 0.
Must not know: which server it starts. It imports the standard library only, and so starts in
about 20 ms, since it is run with `-I -S`.

Root enters a user namespace that maps one other uid to root: the server sees an ordinary user,
while the files stay root's. Where the kernel forbids that, or where the folder lies below one
that only root's privilege opens, the server runs as `nobody` and the folder is given to it; one
capability stays, so that folders above it with mode 0700 can be passed.
"""

import argparse
import ctypes
import os
import pwd
import signal
import sys
from pathlib import Path
from typing import Final, NoReturn

CLONE_NEWUSER: Final = 0x10000000
PR_SET_PDEATHSIG: Final = 1
PR_SET_KEEPCAPS: Final = 8
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_RAISE: Final = 2
CAP_DAC_OVERRIDE: Final = 1
CAPABILITY_VERSION_3: Final = 0x20080522
NOBODY_ID: Final = 65_534

_libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> NoReturn:
    """Become who the server must be, bind its life to the parent's, and become the server."""
    parser = argparse.ArgumentParser(prog="fluxpay.embedded.launcher")
    parser.add_argument("--parent", type=int, default=os.getppid())
    parser.add_argument("--signal", choices=("QUIT", "TERM", "KILL"), default="KILL")
    parser.add_argument("--directory", type=Path, default=Path())
    parser.add_argument("--not-root", action="store_true")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    if options.not_root and not _is_ordinary_user(os.geteuid()):
        leave_root(options.command[0], options.directory)
    # Only now: a change of credentials clears the signal again.
    die_with_parent(options.parent, signal.Signals[f"SIG{options.signal}"])
    os.execv(options.command[0], options.command)


def die_with_parent(parent_pid: int, death_signal: signal.Signals) -> None:
    """Ask the kernel to signal this process when its parent dies.

    It is the parent's *thread* that counts, so servers are started from the main thread.
    """
    _call(_libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0))
    if os.getppid() != parent_pid:
        # The parent died before the request stood; nobody will ever signal us.
        os._exit(1)


def leave_root(program: str, directory: Path) -> None:
    """Go on as somebody the server accepts, who can reach its program and its folder."""
    if _namespace_works(program, directory):
        enter_namespace()
    elif os.geteuid() == 0:
        become_nobody(directory)
    else:
        message = f"uid {os.geteuid()} has no name here and the kernel allows no user namespace"
        sys.exit(f"{message}; run as a user that /etc/passwd knows")


def enter_namespace() -> None:
    """Enter a user namespace in which the one uid there is has a name and is not 0.

    Raises: OSError where the kernel forbids it.
    """
    uid, gid = os.geteuid(), os.getegid()
    inside_uid, inside_gid = _ordinary_ids()
    _call(_libc.unshare(CLONE_NEWUSER))
    # Without this a process could drop a group that shuts it out (user_namespaces(7)).
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{inside_uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{inside_gid} {gid} 1")


def become_nobody(directory: Path) -> None:
    """Give the folder to `nobody` and become it, keeping the right to pass private folders."""
    uid, gid = _ordinary_ids()
    for path in (directory, *directory.rglob("*")):
        if path.lstat().st_uid != uid:
            os.chown(path, uid, gid, follow_symlinks=False)
    _call(_libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    # A root without the capability (some containers) does without: its folders must then be open.
    bit = 1 << CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    if _libc.capset(header, sets) == 0:
        _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


def _namespace_works(program: str, directory: Path) -> bool:
    # A namespace cannot be left again, so a child tries it first.
    child = os.fork()
    if child == 0:
        try:
            enter_namespace()
            reached = os.access(program, os.X_OK) and os.access(directory, os.R_OK | os.W_OK)
        except OSError:
            reached = False
        os._exit(0 if reached else 1)
    return os.waitpid(child, 0)[1] == 0


def _is_ordinary_user(uid: int) -> bool:
    # initdb looks its user up, so a bare `docker run --user 12345` does not suit it either.
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return uid != 0


def _ordinary_ids() -> tuple[int, int]:
    ordinary = [(user.pw_uid, user.pw_gid) for user in pwd.getpwall() if user.pw_uid != 0]
    by_name = [(user.pw_uid, user.pw_gid) for user in pwd.getpwall() if user.pw_name == "nobody"]
    return (*by_name, *ordinary, (NOBODY_ID, NOBODY_ID))[0]


def _call(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main(sys.argv[1:])
