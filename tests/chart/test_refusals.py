"""A value that cannot be right is refused while the chart is rendered, with words that say so."""

from __future__ import annotations

import json

import pytest

from tests.chart import helm

# What is set, and what the message has to name.
BAD_VALUES = (
    ("--set=replicas=3", "additional properties 'replicas' not allowed"),
    ("--set=api.replica=3", "additional properties 'replica' not allowed"),
    ("--set=api.pod.resource.limits.cpu=1", "additional properties 'resource' not allowed"),
    ("--set=pods.resources.limits.cpus=1", "additional properties 'cpus' not allowed"),
    ("--set=config.port=80", "additional properties 'port' not allowed"),
    ("--set=existingSecret=x", "additional properties 'existingSecret' not allowed"),
    ("--set-string=api.replicas=3", "/api/replicas"),
    ("--set=api.replicas=-1", "/api/replicas"),
    ("--set=api.preStopSeconds=0", "/api/preStopSeconds"),
    ("--set=api.service.type=ExternalName", "/api/service/type"),
    ("--set=api.service.port=70000", "/api/service/port"),
    ("--set=api.pdb.maxUnavailable=0", "/api/pdb/maxUnavailable"),
    ("--set=api.autoscaling.targetCpuPercent=0", "/api/autoscaling/targetCpuPercent"),
    ("--set=image.digest=sha256:123", "/image/digest"),
    ("--set=image.pullPolicy=Sometimes", "/image/pullPolicy"),
    ("--set=image.repository=", "/image/repository"),
    ("--set=image.tag=a b", "/image/tag"),
    # Twice in one map, a label makes a document that Argo CD and Flux do not read.
    ("--set=commonLabels.app\\.kubernetes\\.io/part-of=shop", "/commonLabels"),
    ("--set=pods.labels.app\\.kubernetes\\.io/version=v2", "/pods/labels"),
    ("--set=worker.pod.labels.helm\\.sh/chart=other", "/worker/pod/labels"),
    ("--set=monitor.labels.app\\.kubernetes\\.io/name=other", "/monitor/labels"),
    ("--set=database.existingSecret=", "/database/existingSecret"),
    ("--set=database.existingSecret=Not_A_Name", "/database/existingSecret"),
    ("--set=redis.key=a/b", "/redis/key"),
    ("--set=tls.certificate.enabled=true", "/tls/certificate/issuerRef/name"),
    ("--set=tls.certificate.duration=1y", "/tls/certificate/duration"),
    ("--set=config.logLevel=TRACE", "/config/logLevel"),
    ("--set=config.logFormat=xml", "/config/logFormat"),
    ("--set=config.logRequests=2", "/config/logRequests"),
    ("--set=config.logRequests=all", "/config/logRequests"),
    ("--set=config.commitBatchMax=501", "/config/commitBatchMax"),
    ("--set=config.shutdownTimeoutS=0", "/config/shutdownTimeoutS"),
    ("--set=config.trustedProxies={everyone}", "/config/trustedProxies/0"),
    ("--set=config.trustedProxies=10.0.0.0/8", "/config/trustedProxies"),
    ("--set-string=config.allowHttp=yes", "/config/allowHttp"),
    ("--set=pods.runAsUser=0", "/pods/runAsUser"),
    ("--set=pods.resources.requests.memory=lots", "/pods/resources/requests/memory"),
    ("--set=pods.extraEnv[0].value=x", "missing property 'name'"),
    ("--set=pods.extraVolumeMounts[0].name=x", "missing property 'mountPath'"),
    ("--set=worker.verifyIntervalS=-1", "/worker/verifyIntervalS"),
    ("--set=worker.keda.enabled=true", "/worker/keda/serverAddress"),
    ("--set=migration.mode=always", "/migration/mode"),
    ("--set=operator.namespaces={a,a}", "/operator/namespaces"),
    ("--set=operator.apiUrl=pay.example.com", "/operator/apiUrl"),
    ("--set=operator.resyncS=1", "/operator/resyncS"),
    ("--set=ingress.enabled=true", "/ingress/hosts"),
    ("--set=ingress.hosts={https://pay.example.com}", "/ingress/hosts/0"),
    ("--set=httpRoute.enabled=true", "/httpRoute/parentRefs"),
    ("--set=networkPolicy.clients[0].anybody=true", "/networkPolicy/clients/0"),
    ("--set=networkPolicy.database.ports={}", "/networkPolicy/database/ports"),
    ("--set=networkPolicy.dns.to={}", "/networkPolicy/dns/to"),
    ("--set=monitor.enabled=maybe", "/monitor/enabled"),
    ("--set=monitor.kind=Probe", "/monitor/kind"),
    ("--set=monitor.apiVersion=v1", "/monitor/apiVersion"),
    ("--set=monitor.interval=often", "/monitor/interval"),
    ("--set=monitor.labels.a=1", "/monitor/labels/a"),
    ("--set=rules.enabled=maybe", "/rules/enabled"),
    ("--set=rules.labels.a=1", "/rules/labels/a"),
    ("--set=rules.runbookBaseUrl=docs/runbooks", "/rules/runbookBaseUrl"),
    ("--set=rules.grafanaUrl=grafana.example.com", "/rules/grafanaUrl"),
    ("--set=rules.extraGroups[0].name=x", "missing property 'rules'"),
    ("--set=dashboards.enabled=maybe", "/dashboards/enabled"),
    ("--set=dashboards.labels.a=1", "/dashboards/labels/a"),
    ("--set=extraObjects[0].kind=ConfigMap", "missing property 'apiVersion'"),
)
# What each value alone may be, and all together may not.
CONTRADICTIONS = (
    (("tls.enabled=false",), "nobody could call the API over plain HTTP"),
    (
        ("tls.enabled=false", "config.trustedProxies={10.0.0.0/8}"),
        "the operator sends the admin token over TLS only",
    ),
    (
        (
            "tls.enabled=false",
            "config.allowHttp=true",
            "tls.certificate.enabled=true",
            "tls.certificate.issuerRef.name=x",
        ),
        "tls.certificate.enabled needs tls.enabled",
    ),
    (
        ("tls.enabled=false", "config.allowHttp=true", "httpRoute.backendCaConfigMap=x"),
        "httpRoute.backendCaConfigMap needs tls.enabled",
    ),
    (("api.autoscaling.enabled=true", "api.autoscaling.maxReplicas=1"), "is below minReplicas"),
    (
        (
            "worker.keda.enabled=true",
            "worker.keda.serverAddress=http://p",
            "worker.keda.maxReplicas=1",
        ),
        "is below minReplicas",
    ),
)


@pytest.mark.parametrize(("value", "word"), BAD_VALUES)
def test_a_bad_value_is_refused_and_named(value: str, word: str) -> None:
    told = helm.template(value)
    assert 1 == told.code
    assert word in told.err


@pytest.mark.parametrize(("values", "word"), CONTRADICTIONS)
def test_values_that_contradict_each_other_are_refused(values: tuple[str, ...], word: str) -> None:
    told = helm.template(*(f"--set={value}" for value in values))
    assert 1 == told.code
    assert word in told.err


def test_what_a_parent_chart_hands_down_is_taken() -> None:
    told = helm.template("--set=global.anything.at.all=1", "--set=enabled=true")
    assert (0, "") == (told.code, told.err)


def test_every_map_of_the_schema_is_closed_or_open_on_purpose() -> None:
    schema = json.loads((helm.CHART / "values.schema.json").read_text("utf-8"))
    groups = [schema, *schema["properties"].values(), *schema["definitions"].values()]
    unclosed = [
        group
        for group in groups
        if "properties" in group and group.get("additionalProperties", True) is True
    ]
    # A volume and a mount are Kubernetes' own, and it looks at them anyway.
    assert [["name"], ["name", "mountPath"]] == [group["required"] for group in unclosed]
