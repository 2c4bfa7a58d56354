"""CONTRIBUTING.md and the list of make targets name what the repository has."""

import re
import tomllib

from tests.docs.pages import ROOT, code, read, section, table

PAGE = read("CONTRIBUTING.md")


def test_every_folder_of_tests_is_told_with_what_it_proves() -> None:
    told = {code(row[0]) for row in table(PAGE, "Tests, by tier")}
    holding = {path.parent.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py")}
    tiers = {f"tests/{path.parts[1]}" for path in holding if len(path.parts) > 1}
    assert tiers | {"tests/test_architecture.py"} == told


def test_the_layers_are_those_of_the_contract() -> None:
    drawn = section(PAGE, "The layer rule").split("```")[1].splitlines()[1]
    contracts = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (layers,) = (one["layers"] for one in contracts if one["type"] == "layers")
    expected = " -> ".join(layers).replace("fluxpay.", "")
    # What the core shares its place with has no name that a reader would look for.
    assert re.sub(r"core .*", "core", expected) == drawn


def test_every_target_of_make_is_told() -> None:
    told = {
        code(row[0]).removeprefix("make ")
        for row in table(read("docs/reference/commands.md"), "make")
    }
    (phony,) = re.findall(r"^\.PHONY: (.+)$", read("Makefile"), re.MULTILINE)
    assert set(phony.split()) - {"help"} == told
