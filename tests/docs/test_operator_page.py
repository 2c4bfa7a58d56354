"""The page of the operator says what the operator does: rights, entries, reasons, Events."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import yaml

import fluxpay_operator
from fluxpay.core.tenants import Environment
from fluxpay_operator import bindings, marks
from fluxpay_operator.admin_client import CALLED
from fluxpay_operator.bindings import Place
from fluxpay_operator.carrying_out import HELD_NEWS
from fluxpay_operator.metrics import RESULTS
from fluxpay_operator.reports import REFUSALS
from fluxpay_operator.status import ConditionType
from tests.docs.pages import ROOT, code, read, section, table

PAGE = read("docs/reference/operator.md")
SOURCE = Path(fluxpay_operator.__file__).parent


def made(*names: str) -> Iterator[str]:
    """The first argument, where it is written out, of each call of one of these."""
    for path in sorted(SOURCE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
                continue
            first = node.args[0]
            if node.func.id in names and isinstance(first, ast.Constant):
                yield str(first.value)


def test_the_rights_are_those_that_ship() -> None:
    text = (ROOT / "charts/fluxpay/files/operator-rules.yaml").read_text(encoding="utf-8")
    rules = yaml.safe_load(text)
    expected = []
    for rule in (*rules["tenants"], *rules["lease"]):
        (resource,) = rule["resources"]
        named = "".join(f" named `{name}`" for name in rule.get("resourceNames", ()))
        verbs = ", ".join(f"`{verb}`" for verb in rule["verbs"])
        expected.append([f"`{resource}`{named}", verbs])
    assert expected == [row[:2] for row in table(PAGE, "Rights")]


def test_the_entries_of_the_secret_are_listed() -> None:
    place = Place(
        namespace="a",
        name="b",
        owner=None,
        tenant_name="c",
        tenant_id="d",
        environment=Environment.TEST,
        key_name="e",
        uri="f",
        labels={},
        annotations={},
    )
    secret = bindings.manifest(place, token="g", key_id="h", rotation_request="")
    assert list(secret["data"]) == [code(row[0]) for row in table(PAGE, "Secret")]
    text = section(PAGE, "Secret")
    assert f"`{secret['type']}`" in text
    assert [] == [name for name in secret["metadata"]["labels"] if f"`{name}" not in text]
    assert [] == [name for name in secret["metadata"]["annotations"] if f"`{name}" not in text]


def test_the_annotations_are_listed() -> None:
    expected = [f"{marks.ROTATE_ANNOTATION_PREFIX}<key>", marks.FORCE_ANNOTATION]
    assert expected == [code(row[0]) for row in table(PAGE, "Annotations of a Tenant")]


def test_every_condition_is_explained() -> None:
    assert list(ConditionType) == [code(row[0]) for row in table(PAGE, "Conditions")]


def test_every_reason_for_trouble_is_listed() -> None:
    reasons = {*made("Trouble"), *REFUSALS.values(), "SpecRefused"}
    assert reasons == {code(row[0]) for row in table(PAGE, "Reasons")}


def test_every_event_is_listed() -> None:
    reasons = {*made("News"), *(reason for reason, _ in HELD_NEWS.values())}
    assert reasons == {code(row[0]) for row in table(PAGE, "Events")}


def test_every_result_of_a_turn_and_of_a_request_is_listed() -> None:
    told = section(read("docs/reference/metrics.md"), "Operator")
    assert [] == [result for result in (*RESULTS, *CALLED) if f"`{result}`" not in told]
