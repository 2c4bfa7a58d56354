"""What `fluxpay operator` says when it cannot begin: one line that names what to set."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENOUGH = {
    "FLUXPAY_OPERATOR_ADMIN_URL": "http://127.0.0.1:9",
    "FLUXPAY_OPERATOR_API_URL": "http://127.0.0.1:9",
    "FLUXPAY_ADMIN_TOKEN": "any",
    "FLUXPAY_OPERATOR_LEASE_NAMESPACE": "here",
}
CASES = {
    "no address": ({"FLUXPAY_OPERATOR_ADMIN_URL": ""}, "FLUXPAY_OPERATOR_ADMIN_URL is not set;"),
    "no cluster": ({"KUBECONFIG": "/nowhere"}, "KUBECONFIG leads to no cluster ("),
    "no pod": (
        {"FLUXPAY_OPERATOR_LEASE_NAMESPACE": ""},
        "FLUXPAY_OPERATOR_LEASE_NAMESPACE is not set, and this is no pod; name a namespace",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_start_that_cannot_be_is_one_line(case: str, tmp_path: Path) -> None:
    variables, expected = CASES[case]
    told = subprocess.run(
        [sys.executable, "-m", "fluxpay.cli", "operator"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **ENOUGH, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (2, "") == (told.returncode, told.stdout)
    (line,) = told.stderr.splitlines()
    assert line.startswith(f"fluxpay: {expected}")
