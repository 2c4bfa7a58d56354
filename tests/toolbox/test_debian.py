"""A package of Debian's is fetched once, whole or not at all, and only where tests need it."""

from __future__ import annotations

import shutil
import subprocess
from io import StringIO
from pathlib import Path

import pytest

from tests.toolbox import debian
from tests.toolbox.debian import AptFailed, Package, fetch_packages, unpacked
from tests.toolbox.golang import BuildFailed
from tests.toolbox.places import ROOT
from tests.toolbox.supply import ToolMissing

CONTROL = """\
Package: small
Version: 1:2.3
Architecture: all
Maintainer: Nobody <nobody@example.com>
Description: says hello
"""


class Archive:
    """What apt would ask: a package that was built here, and lists that may be too old."""

    def __init__(self, package: Path) -> None:
        self.package = package
        self.has_lists = True
        self.asked: list[str] = []

    def apt(self, *arguments: str, folder: Path | None = None) -> None:
        self.asked.append(arguments[0])
        if arguments[0] == "update":
            self.has_lists = True
        elif not self.has_lists:
            raise AptFailed("apt-get download failed: E: Unable to locate package small")
        else:
            assert folder is not None
            shutil.copy(self.package, folder / "small_1%3a2.3_all.deb")


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    program = tmp_path / "small" / "usr" / "bin" / "fluxpay-small"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    control = tmp_path / "small" / "DEBIAN" / "control"
    control.parent.mkdir()
    control.write_text(CONTROL)
    subprocess.run(["dpkg-deb", "--build", "small"], cwd=tmp_path, check=True, capture_output=True)
    made = Archive(tmp_path / "small.deb")
    monkeypatch.setattr(debian, "apt", made.apt)
    small = Package("small", programs=("fluxpay-small",), needed_in="tests/observability")
    monkeypatch.setattr(debian, "PACKAGES", (small,))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return made


def said() -> str:
    """What the program of the package says."""
    told = subprocess.run([unpacked("fluxpay-small")], capture_output=True, text=True, check=True)
    return told.stdout


def test_a_package_is_fetched_once_and_only_for_the_tests_that_need_it(archive: Archive) -> None:
    out = StringIO()
    fetch_packages(["tests/core"], ROOT, out)
    assert "" == out.getvalue()
    with pytest.raises(ToolMissing, match="run `make tools`, once"):
        unpacked("fluxpay-small")
    fetch_packages(["tests/observability"], ROOT, out)
    assert "hello\n" == said()
    fetch_packages([], ROOT, out)
    told = "tools: fetching small from Debian, once\ntools: unpacking small_1:2.3_all.deb\n"
    assert told == out.getvalue()
    assert ["download"] == archive.asked


def test_lists_that_are_missing_are_renewed(archive: Archive) -> None:
    archive.has_lists = False
    fetch_packages([], ROOT, StringIO())
    assert ["download", "update", "download"] == archive.asked
    assert "hello\n" == said()


def test_who_may_not_renew_the_lists_is_told_what_to_do_and_keeps_nothing(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    archive.has_lists = False
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(BuildFailed, match="put fluxpay-small on PATH, then repeat\napt-get downl"):
        fetch_packages([], ROOT, StringIO())
    kept = tmp_path / "cache" / "fluxpay" / "tools"
    assert ["lock"] == [path.name for path in kept.iterdir()]


def test_a_program_on_path_is_taken_as_it_is(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed = tmp_path / "small" / "usr" / "bin"
    monkeypatch.setenv("PATH", str(installed))
    fetch_packages([], ROOT, StringIO())
    assert [] == archive.asked
    assert installed / "fluxpay-small" == unpacked("fluxpay-small")
