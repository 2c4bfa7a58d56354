"""What the chart wires together fits: settings, drain, probes, monitors, files, its README."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

import fluxpay
from fluxpay.settings import PLAIN, Settings, WorkerSettings
from fluxpay.variables import LOG_FORMATS, LOG_LEVELS
from tests.chart import helm, readme
from tests.chart.helm import CASES, CHART, Object, containers, label, pods

# The chart says these itself, since its ports, probes and mounts depend on them.
FIXED = {"PORT", "ADMIN_PORT", "TLS_CERT_FILE", "TLS_KEY_FILE"}
# The API's own host serves for both.
FOLLOWING = {"ADMIN_HOST"}

cases = pytest.mark.parametrize("case", CASES)


def settings_of(case: str, release: str = "fluxpay") -> Settings:
    """What `fluxpay serve` would understand of the case."""
    variables = dict(helm.one(case, "ConfigMap", f"{release}-config")["data"])
    for name in ("TLS_CERT_FILE", "TLS_KEY_FILE"):
        if f"FLUXPAY_{name}" in variables:
            # A file that is there, as the mounted one will be.
            variables[f"FLUXPAY_{name}"] = str(CHART / "Chart.yaml")
    urls = {
        "FLUXPAY_DATABASE_URL": "postgresql://fluxpay_app@db/fluxpay",
        "FLUXPAY_REDIS_URL": "redis://cache",
    }
    worker = helm.one(case, "Deployment", f"{release}-worker")["spec"]["template"]["spec"]
    (container,) = worker["containers"]
    own = {
        one["name"]: one["value"]
        for one in container["env"]
        if one.get("value") and not one["name"].endswith("_FILE")
    }
    WorkerSettings.from_environment({**variables, **own, **urls})
    return Settings.from_environment({**variables, **urls})


def test_every_setting_of_the_service_is_a_value_of_the_chart_or_its_own_business() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))["config"]
    named = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper() for name in values}
    assert set(PLAIN) == named | FIXED | FOLLOWING
    rendered = helm.one("default", "ConfigMap", "fluxpay-config")["data"]
    assert {f"FLUXPAY_{name}" for name in named | FIXED} == set(rendered)


def test_the_defaults_of_the_chart_are_the_defaults_of_the_service() -> None:
    urls = {
        "FLUXPAY_DATABASE_URL": "postgresql://fluxpay_app@db/fluxpay",
        "FLUXPAY_REDIS_URL": "redis://cache",
    }
    usual = Settings.from_environment(urls)
    ours = settings_of("default")
    differing = {
        name.lower()
        for name in PLAIN
        if getattr(usual, name.lower()) != getattr(ours, name.lower())
    }
    assert {"tls_cert_file", "tls_key_file"} == differing


@pytest.mark.parametrize(
    ("case", "release"), [("plain-http", "fluxpay"), ("everything", "everything")]
)
def test_the_service_understands_what_the_chart_tells_it(case: str, release: str) -> None:
    networks = {"plain-http": ["10.244.0.0/16"], "everything": ["10.0.0.0/8", "fd00::/8"]}
    found = settings_of(case, release).trusted_proxies
    assert networks[case] == [str(network) for network in found]


@pytest.mark.parametrize("given", ["0", "0.000001", "0.1", "1"])
@pytest.mark.parametrize("option", ["--set", "--set-json"])
def test_the_share_of_requests_that_is_logged_is_told_in_plain_digits(
    option: str, given: str
) -> None:
    """To helm it is a text with the one option and a number with the other."""
    (told,) = (
        one["data"]["FLUXPAY_LOG_REQUESTS"]
        for one in helm.made(f"{option}=config.logRequests={given}")
        if one["kind"] == "ConfigMap"
    )
    assert given == told


def test_the_chart_takes_every_log_level_that_the_service_knows() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    properties = schema["properties"]["config"]["properties"]
    assert [*LOG_LEVELS] == properties["logLevel"]["enum"]
    assert [*LOG_FORMATS] == properties["logFormat"]["enum"]


@pytest.mark.parametrize(("pause_s", "drain_s", "grace_s"), [(10, 10, 40), (5, 30, 75), (1, 1, 13)])
def test_a_pod_is_given_its_pause_twice_the_drain_and_ten_seconds(
    pause_s: int, drain_s: int, grace_s: int
) -> None:
    options = (f"--set=api.preStopSeconds={pause_s}", f"--set=config.shutdownTimeoutS={drain_s}")
    made = {helm.label(one): one for one in helm.made(*options)}
    spec = made["Deployment/fluxpay-api"]["spec"]["template"]["spec"]
    assert grace_s == spec["terminationGracePeriodSeconds"]
    assert {"sleep": {"seconds": pause_s}} == spec["containers"][0]["lifecycle"]["preStop"]
    for name in ("worker", "operator"):
        spec = made[f"Deployment/fluxpay-{name}"]["spec"]["template"]["spec"]
        assert grace_s - pause_s == spec["terminationGracePeriodSeconds"]


@cases
def test_every_serving_container_has_its_three_probes_on_ports_that_it_opens(case: str) -> None:
    for one in helm.of_kind(case, "Deployment"):
        (container,) = one["spec"]["template"]["spec"]["containers"]
        probes = {name for name in container if name.endswith("Probe")}
        assert {"startupProbe", "readinessProbe", "livenessProbe"} == probes
        ports = {port["name"] for port in container["ports"]}
        assert {container[probe]["httpGet"]["port"] for probe in probes} <= ports
        assert container["readinessProbe"] != container["livenessProbe"]


def test_readiness_does_not_depend_on_redis() -> None:
    api = helm.one("default", "Deployment", "fluxpay-api")
    (container,) = api["spec"]["template"]["spec"]["containers"]
    wanted = "/health/ready?require=database,schema"
    assert wanted == container["readinessProbe"]["httpGet"]["path"]


@cases
def test_every_service_budget_and_monitor_finds_pods(case: str) -> None:
    labels = [
        one["spec"]["template"]["metadata"]["labels"] for one in helm.of_kind(case, "Deployment")
    ]
    selectors = {
        helm.label(one): _selector(one)
        for one in helm.of_kind(case, "Service", "PodDisruptionBudget", "PodMonitor")
    }
    assert selectors
    found = {
        name: sum(selector.items() <= each.items() for each in labels)
        for name, selector in selectors.items()
    }
    assert dict.fromkeys(found, 1) == found


def test_a_changed_setting_rolls_the_pods_and_nothing_else_does() -> None:
    def checksums(*options: str) -> dict[str, str]:
        made = [one for one in helm.made(*options) if one["kind"] == "Deployment"]
        annotations = {
            helm.label(one): one["spec"]["template"]["metadata"].get("annotations", {})
            for one in made
        }
        return {name: each.get("checksum/config", "") for name, each in annotations.items()}

    usual = checksums()
    assert usual == checksums("--set=api.replicas=7")
    changed = checksums("--set=config.logLevel=DEBUG")
    differing = {name for name in usual if usual[name] != changed[name]}
    assert {"Deployment/fluxpay-api", "Deployment/fluxpay-worker"} == differing


def test_the_selector_of_a_deployment_depends_on_nothing_that_may_change() -> None:
    def selectors(*options: str) -> list[Object]:
        return [
            one["spec"]["selector"] for one in helm.made(*options) if one["kind"] == "Deployment"
        ]

    assert 3 == len(selectors())
    changed = (*CASES["on-premises"], "--set=commonLabels.a=b", "--set=pods.labels.c=d")
    assert selectors() == selectors(*changed, "--set=image.tag=v9")


def test_a_migration_job_outside_of_a_hook_has_a_name_of_its_own_for_all_that_it_runs() -> None:
    def name(*options: str) -> str:
        (found,) = [
            one["metadata"]["name"]
            for one in helm.made("--set=migration.mode=job", *options)
            if one["kind"] == "Job" and "migration" in one["metadata"]["name"]
        ]
        return str(found)

    assert name() == name("--set=api.replicas=5")
    changes = ("image.tag=v2", "pods.labels.a=b", "migration.pod.labels.a=b", "commonLabels.a=b")
    assert len(changes) + 1 == len({name(), *(name(f"--set={one}") for one in changes)})


@pytest.mark.parametrize("mode", ["job", "none"])
def test_pods_wait_for_a_schema_that_no_hook_has_seen_to(mode: str) -> None:
    for name in ("api", "worker"):
        pod = pods(f"migration-{mode}")[f"Deployment/fluxpay-{name}"]
        (first,) = pod["spec"]["initContainers"]
        assert ["migrate", "--check"] == first["args"]


@pytest.mark.parametrize(
    ("switch", "kind"),
    [("monitor", "PodMonitor"), ("rules", "PrometheusRule"), ("dashboards", "ConfigMap")],
)
def test_each_switch_of_watching_brings_its_own_kind_and_nothing_else(
    switch: str, kind: str
) -> None:
    usual = {label(one) for one in helm.objects("default")}
    made = {label(one): one["kind"] for one in helm.made(f"--set={switch}.enabled=true")}
    assert {kind} == {made[name] for name in made.keys() - usual}
    assert usual <= made.keys()


def test_dashboards_and_alerts_are_loaded_from_files_and_without_one_there_is_nothing(
    tmp_path: Path,
) -> None:
    chart = tmp_path / "fluxpay"
    shutil.copytree(CHART, chart)
    shutil.rmtree(chart / "files" / "rules", ignore_errors=True)
    shutil.rmtree(chart / "files" / "dashboards", ignore_errors=True)
    switches = ("--set=rules.enabled=true", "--set=dashboards.enabled=true")

    def made() -> list[Object]:
        kinds = ("PrometheusRule", "ConfigMap")
        return [one for one in helm.made(*switches, chart=chart) if one["kind"] in kinds]

    assert ["fluxpay-config"] == [one["metadata"]["name"] for one in made()]
    (chart / "files" / "rules").mkdir()
    (chart / "files" / "rules" / "slo.yaml").write_text(
        'groups:\n  - name: slo\n    rules:\n      - annotations: {a: "{{ $labels.job }}"}\n'
    )
    (chart / "files" / "dashboards").mkdir()
    dashboard = '{"title": "Payments", "legend": "{{route}}"}\n'
    (chart / "files" / "dashboards" / "payments.json").write_text(dashboard)
    by_name = {one["metadata"]["name"]: one for one in made()}
    assert {"fluxpay-config", "fluxpay-slo", "fluxpay-dashboard-payments"} == set(by_name)
    assert ["slo"] == [group["name"] for group in by_name["fluxpay-slo"]["spec"]["groups"]]
    shown = by_name["fluxpay-dashboard-payments"]
    assert "1" == shown["metadata"]["labels"]["grafana_dashboard"]
    assert json.loads(dashboard) == json.loads(shown["data"]["payments.json"])


def test_a_dashboard_reaches_grafana_as_it_is() -> None:
    shown = [one for one in helm.of_kind("everything", "ConfigMap") if "dashboard" in label(one)]
    files = {path.name: path for path in (CHART / "files" / "dashboards").glob("*.json")}
    assert 5 == len(shown) == len(files)
    for one in shown:
        ((name, text),) = one["data"].items()
        assert json.loads(files[name].read_text("utf-8")) == json.loads(text)
        # A ConfigMap may hold a mebibyte.
        assert len(text) < 1_000_000


def test_alerts_name_the_hosts_of_runbooks_and_dashboards_where_they_are_known() -> None:
    def links(rules: Object) -> set[str]:
        told = [
            one.get("annotations", {})
            for group in rules["spec"]["groups"]
            for one in group["rules"]
        ]
        return {one[name] for one in told for name in ("runbook_url", "dashboard_url") if one}

    (plain,) = (
        one for one in helm.made("--set=rules.enabled=true") if one["kind"] == "PrometheusRule"
    )
    named = helm.one("everything", "PrometheusRule", "everything-alerts")
    hosts = {"docs": "https://docs.example.com/runbooks/", "": "https://grafana.example.com/d/"}
    paths = [one.partition("/") for one in links(plain)]
    moved = {f"{hosts[start]}{path.rpartition('/')[2]}" for start, _, path in paths}
    assert moved == links(named)


def test_groups_of_ones_own_stand_in_an_object_of_their_own() -> None:
    extra = helm.one("everything", "PrometheusRule", "everything-extra-alerts")
    assert ["shop"] == [group["name"] for group in extra["spec"]["groups"]]
    assert "prometheus" == extra["metadata"]["labels"]["release"]


def test_the_definition_of_tenant_outlives_the_release() -> None:
    definition = helm.one("default", "CustomResourceDefinition", "tenants.fluxpay.io")
    assert "keep" == definition["metadata"]["annotations"]["helm.sh/resource-policy"]
    assert [] == helm.of_kind("plain-http", "CustomResourceDefinition")


def test_the_chart_runs_the_version_that_it_comes_with() -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert fluxpay.__version__ == about["appVersion"]


def test_the_readme_is_made_of_the_values() -> None:
    """`make chart` writes it."""
    assert readme.text() == readme.FILE.read_text("utf-8")


def test_every_value_says_what_it_is() -> None:
    assert [] == [row.path for row in readme.rows() if not row.text]


def test_every_value_is_in_the_readme() -> None:
    paths = {row.path for row in readme.rows()}
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))

    def leaves(group: Object, above: str = "") -> list[str]:
        return [
            path
            for key, value in group.items()
            for name in [f"{above}{key}"]
            for path in (
                leaves(value, f"{name}.")
                if isinstance(value, dict) and value and name not in paths
                else [name]
            )
        ]

    assert set() == set(leaves(values)) - paths


@pytest.mark.parametrize("option", ["pods", "api.pod", "migration.pod"])
def test_volumes_of_ones_own_are_there_where_they_are_mounted(option: str) -> None:
    made = helm.made(
        "--set=migration.mode=init",
        f"--set={option}.extraVolumes[0].name=own",
        f"--set={option}.extraVolumeMounts[0].name=own",
        f"--set={option}.extraVolumeMounts[0].mountPath=/own",
    )
    check_mounts({helm.label(one): pod for one in made if (pod := helm.pod_of(one))})


@cases
def test_no_container_shares_its_mount_paths(case: str) -> None:
    check_mounts(pods(case))


def check_mounts(of: dict[str, Object]) -> None:
    for name, pod in of.items():
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        for one in containers(pod):
            paths = [mount["mountPath"] for mount in one["volumeMounts"]]
            assert len(paths) == len(set(paths)), name
            assert {mount["name"] for mount in one["volumeMounts"]} <= volumes, name


def _selector(of: Object) -> dict[str, str]:
    selector: dict[str, str] = of["spec"]["selector"]
    return selector.get("matchLabels", selector)  # type: ignore[return-value]
