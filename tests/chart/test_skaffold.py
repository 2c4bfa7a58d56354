"""skaffold.yaml is one that skaffold takes, and each of its profiles leads to a chart that renders.

Skaffold itself cannot be had as a package, so the file is held against a strict schema of our own,
and its profiles are applied here as skaffold would: patches are JSON patches (RFC 6902).
"""

from __future__ import annotations

import copy
from typing import Any, Final

import pytest
import yaml
from jsonschema import Draft202012Validator

from fluxpay.settings import Settings
from tests.chart import helm
from tests.chart.helm import ROOT, Object
from tests.chart.validation import faults
from tests.docs.pages import code, read, table

CONFIG: Final[dict[str, Any]] = yaml.safe_load((ROOT / "skaffold.yaml").read_text("utf-8"))
SCHEMA: Final = yaml.safe_load((ROOT / "tests/chart/skaffold_schema.yaml").read_text("utf-8"))
PROFILES: Final = ("", "dev", "operator", "ha")


def profiled(name: str) -> dict[str, Any]:
    """The file as a profile makes it."""
    found = copy.deepcopy(CONFIG)
    for profile in found.pop("profiles"):
        for patch in profile["patches"] if profile["name"] == name else []:
            *above, last = patch["path"].strip("/").split("/")
            place: Any = found
            for key in above:
                place = place[int(key)] if isinstance(place, list) else place[key]
            assert (patch["op"] == "add") != (last in place), patch
            if patch["op"] == "remove":
                del place[last]
            else:
                place[last] = patch["value"]
    return found


def rendered(name: str) -> list[Object]:
    """What helm makes of the profile's release."""
    (release,) = profiled(name)["deploy"]["helm"]["releases"]
    files = [f"--values={ROOT / path}" for path in release["valuesFiles"]]
    values = [f"--set={key}={value}" for key, value in release.get("setValues", {}).items()]
    image = ["--set=image.repository=registry.example/fluxpay", "--set-string=image.tag=abc"]
    assert {"image.repository", "image.tag"} == set(release["setValueTemplates"])
    return helm.made(*files, *values, *image, chart=ROOT / release["chartPath"])


@pytest.mark.parametrize("profile", PROFILES)
def test_the_file_is_one_that_skaffold_takes(profile: str) -> None:
    validator = Draft202012Validator(SCHEMA)
    assert [] == [fault.message for fault in validator.iter_errors(CONFIG)]
    assert [] == [fault.message for fault in validator.iter_errors(profiled(profile))]


def test_its_profiles_are_those_that_are_documented() -> None:
    assert list(PROFILES[1:]) == [profile["name"] for profile in CONFIG["profiles"]]
    rows = table(read("docs/how-to/deploy-on-kubernetes.md"), "While you develop")
    assert list(PROFILES[1:]) == [code(row[0]).rsplit(" ", 1)[-1] for row in rows]


@pytest.mark.parametrize("profile", PROFILES)
def test_the_release_of_every_profile_is_valid(profile: str) -> None:
    made = rendered(profile)
    assert [] == [fault for one in made for fault in faults(one, "1.37")]
    images = {
        container["image"]
        for one in made
        if (pod := helm.pod_of(one))
        for container in helm.containers(pod)
    }
    assert {"registry.example/fluxpay:abc"} == images
    operators = [one for one in made if helm.label(one) == "Deployment/fluxpay-operator"]
    assert (profile in {"operator", "ha"}) == (operators != [])


def test_the_stores_are_valid_and_hold_what_the_chart_asks_for() -> None:
    (path,) = CONFIG["manifests"]["rawYaml"]
    stores = list(helm.parsed((ROOT / path).read_text("utf-8")))
    assert [] == [fault for one in stores for fault in faults(one, "1.37")]
    texts = {
        one["metadata"]["name"]: one["stringData"] for one in stores if one["kind"] == "Secret"
    }
    asked = {
        (source["secret"]["name"], item["key"])
        for one in rendered("operator")
        if (pod := helm.pod_of(one))
        for volume in pod["spec"]["volumes"]
        for source in volume.get("projected", {}).get("sources", [])
        if "secret" in source
        for item in source["secret"]["items"]
    }
    assert asked == {(name, key) for name, keys in texts.items() for key in keys}
    services = {one["metadata"]["name"] for one in stores if one["kind"] == "Service"}
    Settings.from_environment(
        {
            "FLUXPAY_DATABASE_URL": texts["fluxpay-database"]["url"],
            "FLUXPAY_OWNER_DATABASE_URL": texts["fluxpay-database-owner"]["url"],
            "FLUXPAY_REDIS_URL": texts["fluxpay-redis"]["url"],
        }
    )
    assert {"postgres", "valkey"} == services


def test_ports_are_forwarded_from_services_that_exist() -> None:
    services = {
        (one["metadata"]["name"], port["port"])
        for one in rendered("dev")
        if one["kind"] == "Service"
        for port in one["spec"]["ports"]
    }
    forwarded = {(one["resourceName"], one["port"]) for one in CONFIG["portForward"]}
    assert services == forwarded
