"""The shape of the repository, held as law: layers, a pure core, small modules, an honest lock.

Knows: the files of this repository, read as text and as syntax trees. Must not know: what any of
the code does. The rules themselves are written in CONTRIBUTING.md; this module makes them fail.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
CORE = ROOT / "fluxpay" / "core"
SOURCE_FOLDERS = ("fluxpay", "operator", "tests")
LOCKS = ("requirements.lock", "requirements-image.lock", "requirements-build.lock")
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70

# Where a clock, chance or the machine would come from. `datetime` itself holds values; asking it
# for the present does not.
IMPURE_MODULES = frozenset(
    {
        "asyncio",
        "concurrent",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "random",
        "secrets",
        "selectors",
        "signal",
        "socket",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "urllib",
        "uuid",
    }
)
CLOCK_READS = frozenset({"now", "today", "utcnow"})

HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")
PIN = re.compile(r"^(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>[^ ;]+)")


def python_files(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def own_files() -> list[Path]:
    return python_files(*(ROOT / folder for folder in SOURCE_FOLDERS))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def nodes(paths: list[Path]) -> Iterator[tuple[Path, ast.AST]]:
    for path in paths:
        for node in ast.walk(tree_of(path)):
            yield path, node


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


def imported_modules(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [name.name for name in names]
        case ast.ImportFrom(module=module, level=0) if module is not None:
            return [module]
        case ast.ImportFrom(module=module, level=level):
            return ["." * level + (module or "")]
        case _:
            return []


def is_allowed_in_core(module: str) -> bool:
    if module == "fluxpay.core" or module.startswith("fluxpay.core."):
        return True
    top = module.partition(".")[0]
    return top in sys.stdlib_module_names and top not in IMPURE_MODULES


def project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


def direct_requirements() -> list[Requirement]:
    table = project()
    written = [
        *table["build-system"]["requires"],
        *table["project"]["dependencies"],
        *(line for extra in table["project"]["optional-dependencies"].values() for line in extra),
    ]
    requirements = [Requirement(line) for line in written]
    return [requirement for requirement in requirements if requirement.name != "fluxpay"]


def lock_lines(name: str = "requirements.lock") -> list[str]:
    return (ROOT / name).read_text(encoding="utf-8").splitlines()


def pins_of(name: str) -> set[str]:
    return {match[0] for line in lock_lines(name) if (match := PIN.match(line))}


def test_every_layer_contract_is_kept() -> None:
    told = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_the_core_is_there_to_be_judged() -> None:
    """An empty folder would keep every rule below, so this one comes first."""
    names = {path.name for path in python_files(CORE)}
    assert {"effects.py", "ledger.py", "money.py", "payments.py", "problems.py"} <= names


def test_the_core_awaits_nothing() -> None:
    waiting = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
    found = [place(path, node) for path, node in nodes(python_files(CORE)) if type(node) in waiting]
    assert [] == found


def test_the_core_imports_only_itself_and_the_pure_part_of_the_standard_library() -> None:
    found = [
        f"{place(path, node)} {module}"
        for path, node in nodes(python_files(CORE))
        for module in imported_modules(node)
        if not is_allowed_in_core(module)
    ]
    assert [] == found


def test_the_core_asks_no_clock() -> None:
    found = [
        f"{place(path, node)} {node.attr}"
        for path, node in nodes(python_files(CORE))
        if isinstance(node, ast.Attribute) and node.attr in CLOCK_READS
    ]
    assert [] == found


def test_the_core_reaches_nothing_through_a_built_in() -> None:
    """`open`, `print`, `input` and `__import__` need no import, so the rule above misses them."""
    doors = {"__import__", "breakpoint", "eval", "exec", "input", "open", "print"}
    found = [
        f"{place(path, node)} {node.id}"
        for path, node in nodes(python_files(CORE))
        if isinstance(node, ast.Name) and node.id in doors
    ]
    assert [] == found


def test_no_package_of_ours_is_named_operator() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_operator_imported_from_the_root_is_the_standard_library() -> None:
    told = subprocess.run(
        [sys.executable, "-c", "import operator; print(operator.itemgetter(0)('pay'))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ("p\n", "", 0) == (told.stdout, told.stderr, told.returncode)


def test_the_wheel_holds_the_service_and_its_operator(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target=wheel", "--directory", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = {name.partition("/")[0] for name in ZipFile(wheel).namelist()}
    packages = {name for name in names if not name.endswith(".dist-info")}
    assert {"fluxpay", "fluxpay_operator"} == packages


def test_no_folder_of_the_tests_is_named_operator() -> None:
    assert [] == [path for path in (ROOT / "tests").rglob("operator") if path.is_dir()]


def test_no_module_outgrows_one_sitting() -> None:
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in own_files()
    }
    assert {} == {name: count for name, count in lines.items() if count > MODULE_LINES_MAX}


def test_no_function_outgrows_one_screen() -> None:
    found = [
        f"{place(path, node)} {node.name}"
        for path, node in nodes(own_files())
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= FUNCTION_LINES_MAX
    ]
    assert [] == found


def test_no_module_bears_a_name_that_says_nothing() -> None:
    empty_names = {"base", "common", "helpers", "manager", "misc", "util", "utils"}
    assert [] == [path for path in own_files() if path.stem in empty_names]


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_of_a_lock_carries_its_hashes(name: str) -> None:
    lines = lock_lines(name)
    pins = [number for number, line in enumerate(lines) if not line.startswith((" ", "#"))]
    assert [] == [lines[number] for number in pins if not PIN.match(lines[number])]
    assert [] == [lines[number] for number in pins if not HASH.match(lines[number + 1])]
    assert [] == [line for line in lines if line.startswith(" ") and not HASH.match(line)]
    assert pins != []


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_host_and_no_path(name: str) -> None:
    signs = ("://", "--index", "--extra-index", "--find-links", " @ ", "file:", "-e ")
    assert [] == [line for line in lock_lines(name) if any(sign in line for sign in signs)]


@pytest.mark.parametrize("name", LOCKS[1:])
def test_what_is_shipped_is_what_was_tested(name: str) -> None:
    assert set() == pins_of(name) - pins_of("requirements.lock")


def test_the_image_gets_what_serves_and_the_operator_and_nothing_else() -> None:
    extras = project()["project"]["optional-dependencies"]
    names = {pin.partition("==")[0] for pin in pins_of("requirements-image.lock")}
    wanted = [*project()["project"]["dependencies"], *extras["operator"]]
    assert set() == {Requirement(line).name for line in wanted} - names
    left_out = [line for extra in set(extras) - {"operator"} for line in extras[extra]]
    unwanted = {Requirement(line).name for line in left_out}
    assert set() == unwanted & names


@pytest.mark.parametrize("requirement", direct_requirements(), ids=str)
def test_the_lock_pins_each_direct_dependency_within_its_range(requirement: Requirement) -> None:
    pinned = [
        match["version"]
        for line in lock_lines()
        if (match := PIN.match(line)) and match["name"] == requirement.name
    ]
    assert pinned != []
    assert [] == [version for version in pinned if version not in requirement.specifier]
