"""Whatever values come together: helm refuses them in words, or every object is a valid one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.chart import helm
from tests.chart.helm import Object, containers
from tests.chart.pod_security import violations
from tests.chart.validation import faults

NEWEST: Final = "1.37"
FILES: Final = (*sorted(helm.PRESETS.glob("*.yaml")), *sorted(helm.OWN_VALUES.glob("*.yaml")))
SWITCHES: Final = (
    "api.autoscaling.enabled=true",
    "api.pdb.maxUnavailable=50%",
    "api.pod.secretsVolume.csi.driver=secrets-store.csi.k8s.io",
    "config.trustedProxies={10.0.0.0/8,fd00::/8}",
    "crds.enabled=false",
    "fullnameOverride=short",
    "httpRoute.enabled=true,httpRoute.parentRefs[0].name=public",
    "migration.mode=hook",
    "migration.mode=init",
    "migration.mode=job",
    "migration.mode=none",
    "migration.pod.secretsVolume.csi.driver=secrets-store.csi.k8s.io",
    "monitor.enabled=true",
    "monitor.enabled=true,monitor.kind=ServiceMonitor",
    "networkPolicy.clients[0].namespaceSelector.matchLabels.a=b",
    "networkPolicy.enabled=false",
    "operator.enabled=false",
    "operator.namespaces={shops,tills}",
    "pods.runAsUser=null",
    "pods.serviceAccount.name=mine",
    "rules.enabled=true",
    "tls.caKey=",
    "tls.certificate.enabled=true,tls.certificate.issuerRef.name=inside",
    "worker.keda.enabled=true,worker.keda.serverAddress=http://prometheus",
    "worker.pdb.enabled=false",
)
# Each of them is a number or a truth to a reader of YAML, and a name to Kubernetes.
MISLEADING: Final = (
    "commonLabels.team=17",
    "database.existingSecret=1",
    "database.key=2",
    "fullnameOverride=1e3",
    "httpRoute.backendCaConfigMap=3",
    "httpRoute.parentRefs[0].name=4",
    "image.pullSecrets={5}",
    "image.repository=6",
    "image.tag=7",
    "ingress.className=8",
    "ingress.hosts={9}",
    "ingress.tlsSecret=10",
    "nameOverride=on",
    "networkPolicy.metrics.namespace=11",
    "operator.namespaces={12}",
    "pods.nodeSelector.gold=true",
    "pods.priorityClassName=13",
    "pods.serviceAccount.name=0",
    "redis.key=0x1",
    "tls.caKey=14",
    "tls.certificate.issuerRef.name=15",
    "tls.existingSecret=16",
)


def everything_wrong_with(found: list[Object]) -> list[str]:
    """What a cluster would refuse among objects that are installed together."""
    names = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in found]
    doubled = [f"{name} comes twice" for name in set(names) if names.count(name) > 1]
    invalid = [fault for one in found for fault in faults(one, NEWEST)]
    insecure = []
    for one in found:
        if (pod := helm.pod_of(one)) is not None:
            volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
            mounts = {mount["name"] for each in containers(pod) for mount in each["volumeMounts"]}
            insecure += [*violations(pod), *(f"no volume {name}" for name in mounts - volumes)]
    return [*doubled, *invalid, *insecure]


@given(
    files=st.lists(st.sampled_from(FILES), max_size=4, unique=True),
    switches=st.lists(st.sampled_from(SWITCHES), max_size=7, unique=True),
)
@settings(max_examples=60)
def test_values_in_any_combination_are_refused_in_words_or_make_valid_objects(
    files: list[Path], switches: list[str]
) -> None:
    told = helm.template(
        *(f"--values={path}" for path in files), *(f"--set={switch}" for switch in switches)
    )
    if told.code != 0:
        # The words of _checks.tpl; any other failure is one of the templates.
        assert "needs tls.enabled" in told.err or "over TLS only" in told.err, told.err
        return
    assert "" == told.err
    assert [] == everything_wrong_with(list(helm.parsed(told.out)))


def test_a_text_that_looks_like_a_number_stays_a_text() -> None:
    switched_on = (
        *("httpRoute.enabled=true", "ingress.enabled=true", "monitor.enabled=true"),
        *("migration.mode=job", "tls.certificate.enabled=true"),
    )
    told = helm.helm(
        *("template", "123", str(helm.CHART), "--namespace=456"),
        *(f"--set={switch}" for switch in switched_on),
        *(f"--set-string={text}" for text in MISLEADING),
    )
    assert (0, "") == (told.code, told.err)
    assert [] == everything_wrong_with(list(helm.parsed(told.out)))
