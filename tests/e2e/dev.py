"""`fluxpay dev` as a process, what it says when it is ready, and a look into its database."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest

READY_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Dev:
    """A running `fluxpay dev`, and what it said when it was ready."""

    process: subprocess.Popen[bytes]
    directory: Path
    ready: dict[str, Any]
    curl_line: str

    def stopped_by(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


def command(directory: Path, *arguments: str) -> list[str]:
    options = ["--dir", str(directory), "--port", "0", "--admin-port", "0"]
    return [sys.executable, "-m", "fluxpay.cli", "dev", *options, *arguments]


def environment(**variables: str) -> dict[str, str]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("FLUXPAY_")}
    clean.pop("HOME", None)
    return {**clean, **variables}


def await_ready(process: subprocess.Popen[bytes], directory: Path, output: Path) -> Dev:
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline_s:
        curl_lines = [line for line in output.read_text().splitlines() if line.startswith("curl ")]
        if curl_lines:
            ready = json.loads((directory / "dev.json").read_text())
            return Dev(process, directory, ready, curl_lines[0])
        time.sleep(0.05)
    process.kill()
    process.wait()
    pytest.fail(f"not ready: {output.read_text()}")


def rows(url: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()
