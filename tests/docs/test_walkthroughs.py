"""The commands that the pages print are run against a real `fluxpay dev`, in their order."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.pages import fences, read
from tests.docs.walkthrough import blocks, missing_lines, outputs, surprises

READY_TIMEOUT_S = 90
PAGES = (
    "README.md",
    "docs/tutorial/first-payment.md",
    "docs/how-to/authorize-capture-refund.md",
    "docs/how-to/close-the-books.md",
    "docs/how-to/manage-tenants-and-keys.md",
    "docs/how-to/handle-errors-and-retries.md",
)


@dataclass(frozen=True, slots=True)
class Dev:
    """A running `fluxpay dev`. Args: home: where its user stands; the data is in `.fluxpay`."""

    home: Path
    output: Path
    environ: dict[str, str]


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    home = tmp_path_factory.mktemp("clone")
    output = home / "output"
    # Where `make setup` puts the command, a user's shell finds it; so it does here.
    command = home / "bin" / "fluxpay"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fluxpay.cli "$@"\n')
    command.chmod(0o700)
    clean = {name: text for name, text in os.environ.items() if not name.startswith("FLUXPAY_")}
    with output.open("wb") as file:
        process = subprocess.Popen(
            [command, "dev", "--port", "0", "--admin-port", "0"],
            cwd=home,
            env=clean,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while "\ncurl " not in output.read_text() and time.monotonic() < deadline_s:
            assert None is process.poll(), output.read_text()
            time.sleep(0.05)
        yield Dev(home, output, {**clean, "PATH": f"{command.parent}:{clean['PATH']}"})
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_answer_as_it_shows(page: str, dev: Dev) -> None:
    to_run = blocks(read(page))
    written = outputs(to_run, dev.home, environ=dev.environ)
    found = surprises(to_run, written)
    assert {} == found, json.dumps(found, indent=2)


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial/first-payment.md"])
def test_make_dev_says_what_the_page_shows(page: str, dev: Dev) -> None:
    shown = next(
        fence.text
        for fence in fences(read(page))
        if fence.info == "console" and "FluxPay is ready" in fence.text
    )
    command, _, said = shown.partition("\n")
    written = dev.output.read_text().replace(str(dev.home), "…")
    assert ("$ make dev", []) == (command, missing_lines(said, written))


def test_output_that_differs_from_the_page_is_noticed() -> None:
    shown = 'HTTP/1.1 201 Created\n…\nRateLimit: "default";r=1;t=2\n{"amount":1}\n'
    written = 'HTTP/1.1 200 OK\nRateLimit: "default";r=7;t=9\n{"amount":2}\n'
    assert ["HTTP/1.1 201 Created", '{"amount":1}'] == missing_lines(shown, written)
