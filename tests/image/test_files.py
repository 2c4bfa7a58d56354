"""The files around the image, read: no engine is needed to see that they are in order."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.pages import code, read, table

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
CORE = {"postgres", "valkey", "migrate", "api", "worker"}
DOCKERFILES = [ROOT / "Dockerfile", *sorted((ROOT / "tests/image/recipes").glob("*.Dockerfile"))]
CONFIGURATIONS = sorted(
    path for path in DEPLOY.rglob("*.y*ml") if "secrets" not in path.relative_to(DEPLOY).parts
)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_the_linter_finds_nothing_in_a_dockerfile(path: Path) -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, path], capture_output=True, text=True, check=False)
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_the_linter_is_listened_to(tmp_path: Path) -> None:
    slip = tmp_path / "Dockerfile"
    slip.write_text("FROM debian:latest\n")
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, slip], capture_output=True, text=True, check=False)
    assert (1, True) == (done.returncode, "DL3007" in done.stdout)


def test_a_build_is_sent_what_the_image_is_made_of_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert "*" == rules[0]
    let_through = {rule[1:] for rule in rules if rule.startswith("!")}
    expected = {"LICENSE", "README.md", "fluxpay", "operator", "pyproject.toml"}
    assert expected | {"requirements-build.lock", "requirements-image.lock"} == let_through


def test_every_stage_stands_on_the_base_that_is_given() -> None:
    stages = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert ["${BASE}", "dependencies", "${BASE}"] == stages


def test_no_syntax_line_makes_a_build_ask_a_registry() -> None:
    assert [] == [path for path in DOCKERFILES if "# syntax" in path.read_text()]


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_a_configuration_can_be_read(path: Path) -> None:
    documents = list(yaml.safe_load_all(path.read_text()))
    assert documents
    assert [dict] * len(documents) == [type(document) for document in documents]


def test_the_core_runs_without_a_profile_and_the_rest_with_one() -> None:
    profiles = {name: service.get("profiles") for name, service in COMPOSE["services"].items()}
    watching = {key: ["observability"] for key in ("prometheus", "grafana", "collector")}
    assert {**dict.fromkeys(CORE), **watching} == profiles


def test_every_image_is_of_a_certain_version() -> None:
    images = [service["image"] for service in COMPOSE["services"].values()]
    assert [] == [image for image in images if not re.search(r":[\w.-]+\}?$", image)]
    assert [] == [image for image in images if "latest" in image]


def test_every_variable_of_the_compose_file_is_told_with_its_default() -> None:
    found = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", (DEPLOY / "compose.yaml").read_text()))
    rows = table(read("docs/how-to/run-with-compose.md"), "Change it")
    told: dict[str, str] = {}
    for names, defaults, _ in rows:
        variables = re.findall(r"`(\w+)`", names)
        values = [code(one) for one in defaults.split(", ")]
        told |= dict(zip(variables, values * (len(variables) // len(values)), strict=True))
    assert {name: default or "none" for name, default in found.items()} == told


def test_every_service_of_the_core_waits_for_what_it_needs() -> None:
    waits = {
        name: {other: rule["condition"] for other, rule in service.get("depends_on", {}).items()}
        for name, service in COMPOSE["services"].items()
        if name in CORE
    }
    migrated = {"migrate": "service_completed_successfully"}
    expected = {
        "postgres": {},
        "valkey": {},
        "migrate": {"postgres": "service_healthy"},
        "api": {**migrated, "valkey": "service_healthy"},
        "worker": migrated,
    }
    assert expected == waits


def test_each_of_our_containers_holds_the_secrets_it_reads_and_no_other() -> None:
    for name in ("migrate", "api", "worker"):
        service = COMPOSE["services"][name]
        read_there = {
            value.removeprefix("/run/secrets/")
            for variable, value in service["environment"].items()
            if variable.endswith("_FILE")
        }
        assert set(service["secrets"]) == read_there
    # Only the one that migrates holds the owner's password.
    holders = [
        name
        for name, service in COMPOSE["services"].items()
        if "owner-database-url" in service.get("secrets", ())
    ]
    assert ["migrate"] == holders


def test_who_sends_spans_is_told_where_to_and_reaches_it() -> None:
    services = COMPOSE["services"]
    (network,) = set(services["collector"]["networks"]) - {"front"}
    for name in ("api", "worker"):
        given = services[name]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"]
        assert "${OTEL_EXPORTER_OTLP_ENDPOINT:-}" == given
        assert network in services[name]["networks"]


def test_nothing_that_is_named_like_a_secret_holds_one() -> None:
    written = {
        variable: value
        for service in COMPOSE["services"].values()
        for variable, value in service.get("environment", {}).items()
        if re.search(r"PASSWORD|TOKEN|SECRET|KEY|_URL", variable)
    }
    assert [] == [value for value in written.values() if not value.startswith("/run/secrets/")]
    assert written != {}
    assert [] == re.findall(r"\w+://[^\s/]*:[^\s/]*@", (DEPLOY / "compose.yaml").read_text())


def test_secrets_are_made_once_and_closed_to_others(tmp_path: Path) -> None:
    script = tmp_path / "make-secrets.sh"
    script.write_bytes((DEPLOY / "make-secrets.sh").read_bytes())
    script.chmod(0o755)
    first = subprocess.run([script], cwd="/", capture_output=True, text=True, check=True)
    folder = tmp_path / "secrets"
    assert 0o700 == folder.stat().st_mode & 0o777
    made = {path.name: path.read_text() for path in folder.iterdir()}
    files = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    # The one more is the password that redis-url and valkey.conf share.
    assert files | {"valkey-password"} == set(made)
    assert len(made) == first.stdout.count("wrote ")
    assert [] == [name for name, text in made.items() if text.strip() in first.stdout]
    passwords = [made[name].strip() for name in made if name.endswith(("-password", "-token"))]
    assert [48] * 6 == [len(password) for password in set(passwords)]
    again = subprocess.run([script], cwd="/", capture_output=True, text=True, check=True)
    assert "" == again.stdout
    assert made == {path.name: path.read_text() for path in folder.iterdir()}


def test_the_scripts_of_the_folder_may_be_run() -> None:
    scripts = [DEPLOY / "make-secrets.sh", DEPLOY / "postgres" / "roles.sh"]
    assert [True, True] == [os.access(script, os.X_OK) for script in scripts]


def test_the_dashboards_find_a_data_source_of_their_kind() -> None:
    sources = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text()
    )
    provided = {source["type"] for source in sources["datasources"] if source["isDefault"]}
    wanted = {
        one["query"]
        for path in (DEPLOY / "grafana" / "dashboards").glob("*.json")
        for one in json.loads(path.read_text())["templating"]["list"]
        if one["name"] == "datasource"
    }
    assert provided == wanted == {"prometheus"}


def test_prometheus_finds_its_rules_where_they_are_mounted() -> None:
    configuration = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    (named,) = (Path(one) for one in configuration["rule_files"])
    mounts = [one.split(":") for one in COMPOSE["services"]["prometheus"]["volumes"]]
    (source,) = (DEPLOY / source for source, target, *_ in mounts if Path(target) == named.parent)
    assert ["alerts.yaml"] == [path.name for path in source.glob(named.name)]
