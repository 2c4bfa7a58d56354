"""A page as a script: its `sh` blocks are run in order, in one shell.

What each of them writes is compared with what the page shows below it.

Knows how output differs from run to run: ids, keys, instants and counters. All else has to be as
it is shown. A line `…` in a shown output stands for lines that the page leaves out.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import fences

_SHOWN_AS_OUTPUT = ("http", "json", "text")
_MARK = "@@ end of block @@"
_VARYING = (
    (re.compile(r"fp_test_[0-9a-z]{26}_[0-9A-Za-z]{39}"), "KEY"),
    (re.compile(r"(?<![0-9a-z])((?:ten|key|pay|re|trf|acc|evt|fp_test)_)[0-9a-z]{26}"), r"\1ID"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "INSTANT"),
    (re.compile(r"cGF5Xz[0-9A-Za-z_-]{34}"), "CURSOR"),
    (re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{16})(?![0-9a-f])"), "HEX"),
    (re.compile(r"127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r";r=\d+;t=\d+"), ";r=N;t=N"),
    (re.compile(r"^Retry-After: \d+$"), "Retry-After: N"),
)


@dataclass(frozen=True, slots=True)
class Block:
    """One block of commands, and the output that the page shows for it, if it does."""

    commands: str
    shown: str | None


def blocks(text: str) -> list[Block]:
    """Give the blocks of a page that are meant to be run."""
    found = fences(text)
    run = []
    for position, fence in enumerate(found):
        if fence.info != "sh":
            continue
        following = found[position + 1] if position + 1 < len(found) else None
        is_output = following is not None and following.info in _SHOWN_AS_OUTPUT
        run.append(Block(fence.text, following.text if following and is_output else None))
    return run


def outputs(
    to_run: list[Block], directory: Path, *, environ: dict[str, str], timeout_s: int = 60
) -> list[str]:
    """Run the blocks in one shell and give what each of them wrote."""
    script = "".join(f"{block.commands}\nprintf '\\n%s\\n' '{_MARK}'\n" for block in to_run)
    ran = subprocess.run(
        ["sh", "-eu"],
        input=script,
        cwd=directory,
        env=environ,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert (0, "") == (ran.returncode, ran.stderr), ran.stdout
    return ran.stdout.split(f"\n{_MARK}\n")[:-1]


def surprises(to_run: list[Block], written: list[str]) -> dict[str, dict[str, object]]:
    """Give what is missing from an output that the page shows, by the commands."""
    return {
        block.commands: {"missing": missing, "written": text}
        for block, text in zip(to_run, written, strict=True)
        if (missing := missing_lines(block.shown or "", text))
    }


def missing_lines(shown: str, written: str) -> list[str]:
    """The shown lines that do not stand in the written ones in this order."""
    missing = []
    rest = [_settled(line) for line in written.splitlines()]
    for line in map(_settled, shown.splitlines()):
        if line.strip() in {"", "…"}:
            continue
        if line in rest:
            rest = rest[rest.index(line) + 1 :]
        else:
            missing.append(line)
    return missing


def _settled(line: str) -> str:
    line = line.rstrip()
    for pattern, stand_in in _VARYING:
        line = pattern.sub(stand_in, line)
    return line
