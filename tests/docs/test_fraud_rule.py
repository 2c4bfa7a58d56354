"""The package that the guide shows is built, installed and obeyed, word for word."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.docs.pages import fences, read
from tests.e2e.serving import enroll, serving

GUIDE = read("docs/how-to/write-a-fraud-rule.md")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the guide's package installed into it, and its test beside it."""
    source = tmp_path_factory.mktemp("source")
    files = [fence for fence in fences(GUIDE) if fence.info in {"toml", "python"}]
    names = ("pyproject.toml", "round_amounts.py", "test_round_amounts.py")
    for name, fence in zip(names, files, strict=True):
        assert f"`{name}`:" in GUIDE
        (source / name).write_text(fence.text)
    target = tmp_path_factory.mktemp("installed")
    # The wheel is made by the backend in our environment, and nothing is fetched.
    build = "import hatchling.build; print(hatchling.build.build_wheel('.'))"
    made = _run([sys.executable, "-c", build], source).stdout.split()[-1]
    _run([sys.executable, "-m", "zipfile", "-e", made, str(target)], source)
    return target


def test_the_test_of_the_guide_passes(installed: Path, tmp_path: Path) -> None:
    shown = next(fence.text for fence in fences(GUIDE) if "import pytest" in fence.text)
    (tmp_path / "test_round_amounts.py").write_text(shown)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=."]
    ran = _run(command, tmp_path, PYTHONPATH=str(installed))
    assert "3 passed" in ran.stdout


async def test_the_service_rejects_by_the_rule_of_the_guide(
    installed: Path, database: Database, redis_url: str
) -> None:
    shown = json.loads(next(fence.text for fence in fences(GUIDE) if fence.info == "json"))
    async with serving(database, redis_url, PYTHONPATH=str(installed)) as service:
        customer = await enroll(service)
        status, answer = _pay(service.api_url, customer.api_key, amount=200_000)
        rejected = {**answer, "trace_id": shown["trace_id"]}
        assert (422, shown) == (status, rejected)
        status, _ = _pay(service.api_url, customer.api_key, amount=200_001)
        assert 201 == status


def _pay(api_url: str, api_key: str, *, amount: int) -> tuple[int, dict[str, object]]:
    ran = _run(
        [
            *("curl", "-sS", "-w", "\n%{http_code}", f"{api_url}/v1/payments"),
            *("-H", f"Authorization: Bearer {api_key}", "-H", f"Idempotency-Key: pay-{amount}"),
            *("-H", "Content-Type: application/json"),
            *("-d", json.dumps({"amount": amount, "currency": "EUR"})),
        ],
        Path.cwd(),
    )
    body, _, status = ran.stdout.rpartition("\n")
    return int(status), json.loads(body)


def _run(
    command: list[str], directory: Path, **variables: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
