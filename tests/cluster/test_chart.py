"""The chart against a real Kubernetes API: installed, tested, upgraded, rolled back, removed."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.chart import helm
from tests.cluster.control_plane import ControlPlane
from tests.cluster.controllers import Controllers
from tests.cluster.kubeconfig import write_kubeconfig
from tests.cluster.kubectl import Kubectl
from tests.conftest import Database
from tests.docs.pages import read
from tests.docs.walkthrough import blocks, missing_lines
from tests.toolbox.supply import program
from tests.web.certificates import write_certificate

NAMESPACE: Final = "fluxpay"
PAGE: Final = "docs/how-to/deploy-on-kubernetes.md"
RUN: Final = ("api", "worker")
EXAMPLE: Final = helm.ROOT / "deploy" / "examples" / "minimal.yaml"
OBJECTS: Final = (
    "deployments,services,configmaps,serviceaccounts,networkpolicies,poddisruptionbudgets,jobs,"
    "roles,rolebindings,clusterroles,clusterrolebindings"
)

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server that has never seen the chart: a definition belongs to one release."""
    plane = ControlPlane.start(tmp_path_factory.mktemp("plane"))
    yield plane
    plane.stop()


@pytest.fixture
def admin(plane: ControlPlane, tmp_path: Path) -> Kubectl:
    """Give a kubectl that may do everything, in the chart's namespace unless told otherwise."""
    path = tmp_path / "admin.kubeconfig"
    write_kubeconfig(path, plane.endpoint, token=plane.admin_token, namespace=NAMESPACE)
    return Kubectl(path, NAMESPACE)


@pytest.fixture
def controllers(plane: ControlPlane, tmp_path: Path) -> Controllers:
    return Controllers(plane, NAMESPACE, tmp_path, (*RUN, "operator"))


def make_namespace(admin: Kubectl, database: Database, redis_url: str, folder: Path) -> None:
    """A namespace that takes restricted pods alone, with the Secrets that the chart asks for."""
    admin.run("create", "namespace", NAMESPACE)
    admin.run("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    certificate, key = (path.read_text() for path in write_certificate(folder))
    secrets = {
        "fluxpay-database": {"url": database.app_url},
        "fluxpay-database-owner": {"url": database.owner_url},
        "fluxpay-redis": {"url": redis_url},
        "fluxpay-admin": {"token": "only-for-this-test"},
        "fluxpay-tls": {"tls.crt": certificate, "tls.key": key, "ca.crt": certificate},
    }
    for name, texts in secrets.items():
        told = admin.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "stringData": texts,
            }
        )
        assert 0 == told.code, told.err


def test_a_release_is_installed_upgraded_rolled_back_and_removed(
    plane: ControlPlane,
    admin: Kubectl,
    controllers: Controllers,
    database: Database,
    redis_url: str,
    tmp_path: Path,
) -> None:
    def release(*arguments: str) -> str:
        told = helm.helm(
            *arguments,
            f"--namespace={NAMESPACE}",
            environ={"KUBECONFIG": str(plane.admin_kubeconfig)},
        )
        assert 0 == told.code, told.err
        return told.out

    def deployments() -> dict[str, dict[str, Any]]:
        found = json.loads(admin.run("get", "deployments", "--output=json"))
        return {one["metadata"]["name"]: one["spec"] for one in found["items"]}

    def level() -> str:
        data: dict[str, str] = admin.get("configmap", "fluxpay-config")["data"]
        return data["FLUXPAY_LOG_LEVEL"]

    make_namespace(admin, database, redis_url, tmp_path)
    with controllers.at_work():
        notes = release("install", "fluxpay", str(helm.CHART))
        assert 3 == len(re.findall(r"^  (?:kubectl|helm) ", notes, re.MULTILINE))
        assert ["fluxpay-migration: done"] == controllers.ran
        first = deployments()
        assert {"fluxpay-api", "fluxpay-worker", "fluxpay-operator"} == set(first)
        assert "INFO" == level()
        admin.run("wait", "crd/tenants.fluxpay.io", "--for=condition=Established")

        # The operator may do what the chart grants it, and trusts the certificate of the chart.
        admin.run("apply", f"--filename={EXAMPLE}")
        admin.run("wait", "tenants", "--all", "--for=condition=Ready", "--timeout=50s")
        assert "" != admin.run("get", "secrets", "--output=name")

        release("upgrade", "fluxpay", str(helm.CHART), "--set=config.logLevel=DEBUG")
        second = deployments()
        assert "DEBUG" == level()
        assert _selectors(first) == _selectors(second)
        assert first["fluxpay-api"]["template"] != second["fluxpay-api"]["template"]
        assert 2 * ["fluxpay-migration: done"] == controllers.ran

        release("rollback", "fluxpay", "1")
        assert "INFO" == level()
        assert first["fluxpay-api"]["template"] == deployments()["fluxpay-api"]["template"]

        release("uninstall", "fluxpay", "--wait")
    ours = "--selector=app.kubernetes.io/instance=fluxpay"
    assert "" == admin.run("get", OBJECTS, ours, "--output=name")
    assert "" != admin.run("get", "crd/tenants.fluxpay.io", "--output=name")
    # The Secrets were the user's, and still are.
    admin.get("secret", "fluxpay-database")


def test_every_pod_is_admitted_where_only_restricted_ones_are(
    admin: Kubectl, database: Database, redis_url: str, tmp_path: Path
) -> None:
    make_namespace(admin, database, redis_url, tmp_path)
    admin.run("create", "serviceaccount", "default")
    for case in ("default", "everything", "on-azure", "migration-init"):
        for name, pod in helm.pods(case).items():
            metadata = {
                "name": "probe",
                "namespace": NAMESPACE,
                "labels": pod["metadata"]["labels"],
            }
            spec = {**pod["spec"], "serviceAccountName": "default", "restartPolicy": "Never"}
            spec.pop("priorityClassName", None)
            told = admin.apply(
                {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
                "--dry-run=server",
            )
            assert 0 == told.code, (case, name, told.err)
            assert "" == told.err, (case, name)


def test_the_page_on_deploying_works_line_by_line(
    plane: ControlPlane,
    controllers: Controllers,
    database: Database,
    redis_url: str,
    tmp_path: Path,
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("helm", "kubectl"):
        (tools / name).symlink_to(program(name))
    (tmp_path / "charts").symlink_to(helm.ROOT / "charts")
    environ = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "KUBECONFIG": str(plane.admin_kubeconfig),
        "DATABASE_URL": database.app_url,
        "OWNER_DATABASE_URL": database.owner_url,
        "REDIS_URL": redis_url,
    }
    to_run = blocks(read(PAGE))
    # Objects are listed by namespace, so there has to be one before work begins.
    assert to_run[0].commands.startswith("kubectl create namespace")
    run(to_run[0].commands, tmp_path, environ)
    with controllers.at_work():
        surprises = {}
        for block in to_run[1:]:
            written = run(block.commands, tmp_path, environ)
            if missing := missing_lines(block.shown or "", written):
                surprises[block.commands] = {"missing": missing, "written": written}
    assert {} == surprises, json.dumps(surprises, indent=2)
    tests = [line for line in controllers.ran if "test" in line]
    assert [f"fluxpay-test-{name}: done" for name in ("books", "reached", "schema")] == tests


def run(commands: str, folder: Path, environ: dict[str, str]) -> str:
    done = subprocess.run(
        ["sh", "-eu"],
        input=commands,
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert 0 == done.returncode, f"{commands}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _selectors(of: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {name: spec["selector"] for name, spec in of.items()}
