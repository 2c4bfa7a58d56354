"""The API server of these tests is a real one, and does not outlive them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.cluster.accounts import account_user, act_as
from tests.cluster.control_plane import ControlPlane, Request
from tests.cluster.kubectl import Kubectl
from tests.embedded.processes import await_nobody_below, pids_below
from tests.toolbox.places import ROOT

# Starts both servers, says so, and then waits to be killed.
PARENT = """
import signal, sys
from pathlib import Path
from tests.cluster.control_plane import ControlPlane
plane = ControlPlane.start(Path(sys.argv[1]))
print("started", flush=True)
signal.pause()
"""


def test_an_account_may_do_what_its_role_says_and_nothing_else(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path
) -> None:
    reader = act_as(control_plane, kubectl, "reader", tmp_path)
    kubectl.run("create", "role", "reader", "--verb=get,list", "--resource=secrets")
    kubectl.run(
        "create",
        "rolebinding",
        "reader",
        "--role=reader",
        f"--serviceaccount={kubectl.namespace}:reader",
    )
    assert "" == reader.run("get", "secrets", "--output=name")
    told = reader.ask("create", "secret", "generic", "mine")
    assert 1 == told.code
    assert 'cannot create resource "secrets"' in told.err


def test_the_audit_log_tells_who_asked_for_what(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path
) -> None:
    nosy = act_as(control_plane, kubectl, "nosy", tmp_path)
    before = control_plane.audit_log.stat().st_size
    assert 1 == nosy.ask("get", "secret", "gold").code
    user = account_user(kubectl.namespace, "nosy")
    asked = Request(user, "get", "secrets", kubectl.namespace, "gold", 403)
    assert [asked] == control_plane.requests(user=user, start=before)


def test_what_was_written_outlives_a_restart(tmp_path: Path) -> None:
    plane = ControlPlane.start(tmp_path)
    try:
        admin = Kubectl(plane.admin_kubeconfig, "default")
        admin.run("create", "configmap", "memory", "--from-literal=word=kept")
        plane.restart_api(at_once=True)
        assert {"word": "kept"} == admin.get("configmap", "memory")["data"]
        plane.restart_api()
        assert {"word": "kept"} == admin.get("configmap", "memory")["data"]
    finally:
        plane.stop()


def test_nothing_outlives_the_process_that_started_it(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    with parent:
        assert parent.stdout is not None
        assert "started\n" == parent.stdout.readline()
        assert 2 == len(pids_below(tmp_path))
        parent.kill()
    assert [] == await_nobody_below(tmp_path)
