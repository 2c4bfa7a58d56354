"""Every example becomes what it says: a key that pays, quotas that hold, a tenant refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cluster.kubectl import Kubectl
from tests.cluster.operating import Operator, eventually, until
from tests.cluster.shop import Shop, key
from tests.e2e.serving import Service

EXAMPLES = Path(__file__).parents[2] / "deploy/examples"
NAMES = {path.stem: path for path in sorted(EXAMPLES.glob("*.yaml"))}
PAYING = {
    "minimal": ("corner-shop", "corner-shop-till"),
    "live-full": ("bookshop", "bookshop-fluxpay-backend"),
    "rotation-now": ("flower-shop", "flower-shop-till"),
    "adopt": ("old-bakery", "old-bakery-till"),
}


def apply(kubectl: Kubectl, example: str, tenant: str) -> None:
    kubectl.run("apply", f"--filename={NAMES[example]}")
    kubectl.run("wait", f"tenant/{tenant}", "--for=condition=Ready", "--timeout=30s")


def test_every_example_has_its_check() -> None:
    assert {*PAYING, "suspended"} == set(NAMES)


@pytest.mark.usefixtures("operator")
async def test_the_key_of_each_example_pays_and_its_secret_is_a_service_binding(
    kubectl: Kubectl, service: Service
) -> None:
    for example, (name, secret_name) in PAYING.items():
        apply(kubectl, example, name)
        shop = Shop(kubectl, service, name)
        status = shop.resource()["status"]
        assert {"name": secret_name} == status["binding"]
        shop.name, _, key_name = secret_name.rpartition("-")
        binding = shop.binding(key_name)
        token = binding.pop("api-key")
        assert 201 == (await shop.pay(token)).status, example
        assert {
            "type": "fluxpay",
            "provider": "fluxpay",
            "uri": service.api_url,
            "key-id": status["keys"][0]["id"],
        } == binding
        told = kubectl.run("get", "secret", secret_name, "--output=json", "--show-managed-fields")
        secret = json.loads(told)
        assert "servicebinding.io/fluxpay" == secret["type"]
        (owner,) = secret["metadata"]["ownerReferences"]
        assert ("Tenant", name) == (owner["kind"], owner["name"])
        managers = {one["manager"]: one["operation"] for one in secret["metadata"]["managedFields"]}
        assert {"fluxpay-operator": "Apply"} == managers


@pytest.mark.usefixtures("operator")
async def test_a_full_example_is_told_in_full(kubectl: Kubectl, service: Service) -> None:
    apply(kubectl, "live-full", "bookshop")
    shop = Shop(kubectl, service, "bookshop")
    status = shop.resource()["status"]
    assert ("2/2", 1) == (status["keysReady"], status["observedGeneration"])
    backend, bookkeeping = status["keys"]
    assert ["backend", "bookkeeping"] == [backend["name"], bookkeeping["name"]]
    assert "rotatesAt" not in bookkeeping
    assert backend["rotatesAt"] == status["nextRotation"]
    secret = kubectl.get("secret", "bookshop-fluxpay-bookkeeping")["metadata"]
    assert "bookshop" == secret["labels"]["app.kubernetes.io/part-of"]
    assert "team-checkout" == secret["annotations"]["example.com/owner"]
    _, found = await shop.admin("GET")
    assert ["EUR", "GBP", "JPY"] == found["currencies"]
    assert [600, 900] == [found["rate_limits"][1][name] for name in ("requests", "burst")]
    assert {"count": 200, "window_s": 60} == found["payment_limits"][0]["velocity"]
    keys = {one["name"]: one for one in await shop.living_keys()}
    assert ["10.0.0.0/8", "fd00::/8", "127.0.0.0/8", "::1/128"] == keys["kubernetes:backend"][
        "allowed_cidrs"
    ]


@pytest.mark.usefixtures("operator")
async def test_the_quota_of_the_spec_is_what_the_api_enforces(shop: Shop) -> None:
    def quota(requests: int) -> list[dict[str, object]]:
        return [{"name": "small", "requests": requests, "window": "1h"}]

    shop.apply(rateLimits=quota(3))
    await shop.becomes("Ready")
    answers = [await shop.pay() for _ in range(4)]
    assert [201, 201, 201, 429] == [one.status for one in answers]
    assert '"small";q=3;w=3600' == answers[0].headers["RateLimit-Policy"]
    assert ["2", "1", "0"] == [
        re.findall(r"r=(\d+)", one.headers["RateLimit"])[0] for one in answers[:3]
    ]
    shop.apply(rateLimits=quota(1000))
    await shop.becomes("Ready")

    async def quota_is_told() -> bool:
        return '"small";q=1000;w=3600' == (await shop.pay()).headers["RateLimit-Policy"]

    # A looked-up key is remembered for some seconds.
    await eventually(quota_is_told)
    assert 201 == await shop.pays()


@pytest.mark.usefixtures("operator")
async def test_a_suspended_tenant_is_ready_and_refused_and_a_resumed_one_pays_again(
    kubectl: Kubectl, service: Service
) -> None:
    apply(kubectl, "suspended", "market-stall")
    stall = Shop(kubectl, service, "market-stall")
    assert "Suspended" == stall.conditions()["Ready"]["reason"]
    assert 403 == await stall.pays()
    stall.patch({"spec": {"state": "active"}})
    await stall.becomes("Ready", reason="Ready")
    await eventually(lambda: stall.answers(201))
    stall.patch({"spec": {"state": "suspended"}})
    await stall.becomes("Ready", reason="Suspended")
    await eventually(lambda: stall.answers(403), patience_s=10)
    assert ["KeyIssued", "TenantRegistered", "TenantResumed", "TenantSuspended"] == stall.reasons()


@pytest.mark.usefixtures("operator")
async def test_what_the_service_refuses_stalls_with_the_words_of_the_service(
    shop: Shop, operator: Operator
) -> None:
    shop.apply(rateLimits=[{"name": "odd", "route": "/v1/nowhere", "requests": 1, "window": "1s"}])
    await shop.becomes("Stalled", reason="SpecRefused")
    told = shop.conditions()["Ready"]
    assert ("False", "SpecRefused") == (told["status"], told["reason"])
    assert "#/rate_limits/0/route Must be one of" in told["message"]
    shop.apply()
    await shop.becomes("Ready")
    assert "True" != shop.conditions()["Stalled"]["status"]
    assert 200 == (await operator.health("ready"))[0]


@pytest.mark.usefixtures("operator")
async def test_a_secret_of_somebody_else_is_never_overwritten(shop: Shop, kubectl: Kubectl) -> None:
    kubectl.run("create", "secret", "generic", "shop-till", "--from-literal=api-key=mine")
    before = kubectl.get("secret", "shop-till")
    shop.apply(key("till"), key("office"))
    await shop.becomes("Stalled", reason="SecretConflict")
    assert before == kubectl.get("secret", "shop-till")
    assert "1/2" == shop.resource()["status"]["keysReady"]
    assert 201 == await shop.pays(shop.token("office"))
    kubectl.run("delete", "secret", "shop-till")
    shop.annotate("rotate.fluxpay.io/till=look-again")
    await shop.becomes("Ready")
    assert 201 == await shop.pays()


@pytest.mark.usefixtures("operator")
async def test_a_key_that_leaves_the_spec_is_revoked_and_its_secret_deleted(shop: Shop) -> None:
    shop.apply(key("till"), key("office"))
    await shop.becomes("Ready")
    token = shop.token("office")
    shop.apply(key("till"))
    await until(lambda: shop.secret("office") is None, what="the Secret to go")
    await eventually(lambda: shop.answers(401, token), patience_s=10)
    assert 201 == await shop.pays()
    assert ["till"] == [one["name"] for one in shop.resource()["status"]["keys"]]


async def test_nothing_of_kopf_is_written_on_a_tenant(shop: Shop, operator: Operator) -> None:
    shop.apply()
    await shop.becomes("Ready")
    metadata = shop.resource()["metadata"]
    applied = {"kubectl.kubernetes.io/last-applied-configuration"}
    assert applied == set(metadata["annotations"])
    assert ["fluxpay.io/operator"] == metadata["finalizers"]
    assert "kopf" not in json.dumps(shop.resource())
    assert 0 == await operator.stop()
