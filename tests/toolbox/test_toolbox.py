"""The tools of the tests are built once, whole or not at all, and only where tests need them."""

from __future__ import annotations

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from tests.toolbox import places, supply, tools
from tests.toolbox.golang import BuildFailed, find_go
from tests.toolbox.places import ROOT, tools_folder
from tests.toolbox.supply import ToolMissing, program
from tests.toolbox.tools import TOOLS, Tool, needed_for

SAYS_VERSION = "package main\n\nvar version string\n\nfunc main() { print(version) }\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test alone, with what Go has compiled before left in its place."""
    go = find_go(tools_folder(), StringIO())
    compiled = subprocess.run(
        [go.program, "env", "GOCACHE"], capture_output=True, text=True, check=True
    )
    monkeypatch.setenv("GOCACHE", compiled.stdout.strip())
    monkeypatch.setenv("PATH", f"{go.program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return tmp_path / "cache" / "fluxpay" / "tools"


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    """A tool that builds in a moment and prints its version."""
    module = tmp_path / "small"
    module.mkdir()
    (module / "go.mod").write_text(
        "module fluxpay.io/small\n\ngo 1.26\n\nrequire example.com/pinned v1.2.3 // indirect\n"
    )
    (module / "go.sum").write_text("")
    (module / "main.go").write_text(SAYS_VERSION)
    made = Tool(
        "small",
        module=str(module),
        package="fluxpay.io/small",
        versioned_by="example.com/pinned",
        stamps=("main.version={version}",),
        is_asset=True,
    )
    monkeypatch.setattr(tools, "TOOLS", (made,))
    return made


def printed(path: Path) -> str:
    """What the small tool says; Go's `print` writes to standard error."""
    return subprocess.run([path], capture_output=True, text=True, check=True).stderr


def test_a_tool_is_built_once_and_bears_its_pinned_version(cache: Path, small: Tool) -> None:
    out = StringIO()
    supply.supply([small], out)
    assert "tools: building small v1.2.3 (1 of 1), once" in out.getvalue()
    assert "v1.2.3" == printed(program("small"))
    again = StringIO()
    supply.supply([small], again)
    assert "" == again.getvalue()
    assert ["lock", small.file_name] == sorted(path.name for path in cache.iterdir())


def test_a_tool_that_is_not_there_says_how_to_get_it(cache: Path, small: Tool) -> None:
    with pytest.raises(ToolMissing, match=r"^small v1\.2\.3 is not built yet: run `make tools`, o"):
        program(small.name)
    assert [] == list(cache.iterdir())


def test_other_pins_make_another_file(small: Tool) -> None:
    before = small.file_name
    (small.folder / "go.sum").write_text("example.com/pinned v1.2.3 h1:changed=\n")
    assert before != small.file_name


def test_a_failed_build_says_why_and_leaves_nothing(cache: Path, small: Tool) -> None:
    (small.folder / "main.go").write_text("package main\n\nfunc main() { undefined() }\n")
    with pytest.raises(BuildFailed, match="undefined: undefined"):
        supply.supply([small], StringIO())
    assert ["lock"] == [path.name for path in cache.iterdir()]


def test_two_runs_at_once_build_one_after_the_other(cache: Path, small: Tool) -> None:
    """The second finds what the first has built."""
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.toolbox.supply import supply; from tests.toolbox.tools import Tool\n"
        f"supply([{small!r}], sys.stdout)\n"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    told = [run.communicate()[0] for run in runs]
    assert [0, 0, 0] == [run.returncode for run in runs]
    assert 1 == "".join(told).count("tools: building small")
    assert (cache / small.file_name).exists()


def test_assets_that_somebody_has_are_taken(
    cache: Path, small: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "small-of-theirs"
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(own.parent / "assets"))
    asset = own.parent / "assets" / "small"
    asset.parent.mkdir()
    asset.touch(mode=0o755)
    supply.supply([small], StringIO())
    assert asset == program("small")
    assert not cache.exists() or [] == list(cache.iterdir())


@pytest.mark.parametrize(
    ("named", "home", "expected"),
    [
        ("{}/xdg", "{}/home", "{}/xdg/fluxpay/tools"),
        ("", "{}/home", "{}/home/.cache/fluxpay/tools"),
        ("relative", "{}/home", "{}/home/.cache/fluxpay/tools"),
        ("", "/proc/nowhere", "{}/root/.tools"),
        ("", "", "{}/root/.tools"),
    ],
)
def test_tools_are_kept_where_their_user_can_write(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: str,
    home: str,
    expected: str,
) -> None:
    (tmp_path / "root").mkdir()
    monkeypatch.setattr(places, "ROOT", tmp_path / "root")
    monkeypatch.setenv("XDG_CACHE_HOME", named.format(tmp_path))
    monkeypatch.setenv("HOME", home.format(tmp_path))
    assert Path(expected.format(tmp_path)) == tools_folder()
    assert os.access(tools_folder(), os.W_OK)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_every_tool_is_pinned_with_its_checksums(tool: Tool) -> None:
    assert tool.version.startswith("v")
    sums = (tool.folder / "go.sum").read_text(encoding="utf-8")
    assert f"{tool.versioned_by} {tool.version} h1:" in sums


@pytest.mark.parametrize(
    ("arguments", "needs"),
    [
        ([], True),
        (["-x", "-k", "name"], True),
        (["tests"], True),
        (["tests/cluster/test_changes.py::test_all_the_rest_may_change"], True),
        (["tests/cluster"], True),
        (["tests/core", "-x"], False),
        (["tests/core", "tests/cluster"], True),
    ],
)
def test_a_run_waits_only_for_the_tools_of_its_tests(arguments: list[str], needs: bool) -> None:
    assert needs == ("etcd" in [tool.name for tool in needed_for(arguments, ROOT)])
