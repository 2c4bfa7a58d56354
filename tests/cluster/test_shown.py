"""What kubectl shows of Tenants reads as the page of the reference prints it."""

from __future__ import annotations

import json
import re
import shlex

import msgspec
import pytest

from tests.cluster.examples import FOLDER, bookshop, market_stall
from tests.cluster.kubectl import Kubectl
from tests.docs.pages import fences, read

PROMPT = "$ kubectl "
SHOWN = [
    fence.text
    for fence in fences(read("docs/reference/tenant.md"))
    if fence.info == "console" and fence.text.startswith(PROMPT)
]
# Instants of the status are the test's own and stay; those of the server differ.
VARYING = (
    (re.compile(r"(Creation Timestamp: +)\S+"), r"\1INSTANT"),
    (re.compile(r"(Resource Version: +)\d+"), r"\1NUMBER"),
    (re.compile(r"(UID: +)\S+"), r"\1UID"),
    (re.compile(r"(Namespace: +)\S+"), r"\1NAMESPACE"),
    (re.compile(r"  \d+[sm](?=  |\n)"), "  AGE"),
    (re.compile(r" +\n"), "\n"),
)


def alike(text: str) -> str:
    """The text with what differs from run to run made the same."""
    for pattern, replacement in VARYING:
        text = pattern.sub(replacement, text)
    return text.strip()


def told(kubectl: Kubectl) -> None:
    """Some of the examples, with what the operator says of them."""
    names = ("live-full", "suspended")
    kubectl.run("apply", *(f"--filename={FOLDER / name}.yaml" for name in names))
    for name, status in (("bookshop", bookshop()), ("market-stall", market_stall())):
        document = json.dumps({"status": msgspec.to_builtins(status)})
        kubectl.run(
            "patch", "tenant", name, "--subresource=status", "--type=merge", f"--patch={document}"
        )


def test_the_page_shows_lists_a_description_and_explanations() -> None:
    commands = [block.removeprefix(PROMPT).split()[0] for block in SHOWN]
    assert ["get", "get", "describe", "explain", "explain"] == commands


@pytest.mark.parametrize("block", SHOWN, ids=lambda block: block.partition("\n")[0])
def test_kubectl_shows_what_the_page_prints(kubectl: Kubectl, block: str) -> None:
    command, _, output = block.partition("\n")
    told(kubectl)
    arguments = shlex.split(command.removeprefix(PROMPT))
    assert alike(output) == alike(kubectl.run(*arguments))
