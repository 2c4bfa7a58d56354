"""Keys rotate with an overlap, by the clock and on demand; what is lost or edited is healed."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import datetime

import pytest

from tests.cluster.kubectl import Kubectl
from tests.cluster.operating import Operator, eventually, until
from tests.cluster.shop import Shop, key
from tests.observability.exposed import page

pytestmark = pytest.mark.usefixtures("operator")
ON_DEMAND = {"policy": "OnDemand", "overlap": "8s"}


async def test_both_keys_work_in_the_overlap_and_only_the_new_one_after_it(shop: Shop) -> None:
    shop.apply(key(rotation=ON_DEMAND))
    await shop.becomes("Ready")
    old = shop.token()
    shop.annotate("rotate.fluxpay.io/till=first wish")
    await until(lambda: shop.token() != old, what="a new key")
    new = shop.token()
    await eventually(lambda: shop.answers(201, new))
    assert 201 == await shop.pays(old)
    await until(lambda: retiring(shop), what="the retiring key to be told of")
    await eventually(lambda: shop.answers(401, old), patience_s=30)
    assert 201 == await shop.pays(new)
    await until(lambda: not retiring(shop), what="the retired key to be gone from the status")
    assert ["first wish"] == [one["rotationHandled"] for one in shop.resource()["status"]["keys"]]
    assert ["KeyIssued", "KeyRotated", "TenantRegistered"] == [
        one for one in shop.reasons() if one != "KeyRevoked"
    ]
    assert 1 == len([one for one in await shop.living_keys() if one["expires_at"] is None])


async def test_a_wish_that_stays_rotates_nothing_twice_and_one_from_the_start_nothing(
    shop: Shop, kubectl: Kubectl
) -> None:
    shop.apply(key(rotation=ON_DEMAND))
    shop.annotate("rotate.fluxpay.io/till=here from the start")
    await shop.becomes("Ready")
    shop.annotate("rotate.fluxpay.io/till=once")
    await until(lambda: "once" in json.dumps(shop.resource()["status"]), what="the rotation")
    token = shop.token()
    kubectl.run("annotate", "tenant", "shop", "unrelated=1")
    shop.patch({"spec": {"displayName": "Renamed"}})
    await shop.becomes("Ready")
    assert token == shop.token()


async def test_a_key_rotates_by_itself_when_its_interval_is_over(
    shop: Shop, operator: Operator
) -> None:
    shop.apply(key(rotation={"policy": "Automatic", "interval": "30s", "overlap": "5s"}))
    await shop.becomes("Ready")
    status = shop.resource()["status"]
    (told,) = status["keys"]
    between = datetime.fromisoformat(told["rotatesAt"]) - datetime.fromisoformat(told["issuedAt"])
    assert 26 <= between.total_seconds() <= 30
    assert status["nextRotation"] == told["rotatesAt"]
    shown = await page(operator.url)
    assert datetime.fromisoformat(told["rotatesAt"]).timestamp() == shown.value(
        "fluxpay_operator_key_rotation_timestamp_seconds",
        tenant="shop",
        namespace=shop.kubectl.namespace,
    )
    old = shop.token()
    await until(lambda: shop.token() != old, what="the rotation", patience_s=45)
    assert 201 == await shop.pays()
    assert "KeyRotated" in shop.reasons()


async def test_a_deleted_secret_is_healed_and_an_event_says_so(
    shop: Shop, kubectl: Kubectl
) -> None:
    shop.apply(key(rotation=ON_DEMAND))
    await shop.becomes("Ready")
    old = shop.token()
    kubectl.run("delete", "secret", "shop-till")
    await until(lambda: shop.secret() is not None, what="the Secret", patience_s=30)
    await eventually(lambda: shop.answers(201))
    assert old != shop.token()
    await eventually(lambda: shop.answers(401, old), patience_s=30)
    assert 1 == shop.reasons().count("SecretHealed")
    assert "True" == shop.statuses()["Ready"]


EDITS = {
    "another key": {"data": {"api-key": base64.b64encode(b"fp_test_nothing").decode()}},
    "no key": {"data": {"api-key": None}},
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=list(EDITS))
async def test_an_edited_key_is_replaced_by_a_new_one(
    shop: Shop, kubectl: Kubectl, edit: dict[str, object]
) -> None:
    shop.apply()
    await shop.becomes("Ready")
    old = shop.token()
    kubectl.run("patch", "secret", "shop-till", f"--patch={json.dumps(edit)}")

    def is_whole() -> bool:
        found = shop.secret()
        return found is not None and len(base64.b64decode(found["data"].get("api-key", ""))) > 40

    await until(is_whole, what="a new key", patience_s=30)
    await eventually(lambda: shop.answers(201))
    assert old != shop.token()
    assert 1 == shop.reasons().count("SecretHealed")


async def test_what_is_edited_beside_the_key_is_put_back_and_the_key_stays(
    shop: Shop, kubectl: Kubectl
) -> None:
    shop.apply()
    await shop.becomes("Ready")
    before = shop.binding()
    edits: dict[str, dict[str, object]] = {
        "data": {"uri": "bm93aGVyZQ==", "type": None},
        "metadata": {
            "labels": {"fluxpay.io/key": "other", "app.kubernetes.io/managed-by": None},
            "ownerReferences": None,
        },
    }
    # One after the other: without labels and owner at once, it would be anybody's.
    for part, edit in edits["metadata"].items():
        patch = json.dumps({"metadata": {part: edit}})
        kubectl.run("patch", "secret", "shop-till", "--type=merge", f"--patch={patch}")
        await until(lambda: is_tidy(shop), what=f"{part} to be put back", patience_s=30)
    patch = json.dumps({"data": edits["data"]})
    kubectl.run("patch", "secret", "shop-till", "--type=merge", f"--patch={patch}")
    await until(lambda: shop.binding() == before, what="the entries to be put back", patience_s=30)
    kubectl.run("label", "secret", "shop-till", "mine=too")
    await asyncio.sleep(1)
    labels = kubectl.get("secret", "shop-till")["metadata"]["labels"]
    assert "too" == labels["mine"]
    assert 201 == await shop.pays()
    assert {"SecretHealed"} == set(shop.reasons()) - {"KeyIssued", "TenantRegistered"}


async def test_what_is_taken_out_of_the_template_leaves_the_secret_and_the_key_stays(
    shop: Shop, kubectl: Kubectl
) -> None:
    template = {"labels": {"team": "till"}, "annotations": {"example.com/owner": "me"}}
    shop.apply(secretTemplate=template)
    await shop.becomes("Ready")
    before = shop.binding()
    kubectl.run("label", "secret", "shop-till", "mine=too")
    shop.apply()
    await shop.becomes("Ready")

    def is_plain() -> bool:
        metadata = kubectl.get("secret", "shop-till")["metadata"]
        return not {"team", "example.com/owner"} & {*metadata["labels"], *metadata["annotations"]}

    await until(is_plain, what="label and annotation to go", patience_s=30)
    assert "too" == kubectl.get("secret", "shop-till")["metadata"]["labels"]["mine"]
    assert before == shop.binding()


async def test_a_key_that_somebody_revoked_is_replaced(shop: Shop) -> None:
    shop.apply()
    await shop.becomes("Ready")
    old = shop.binding()
    status, _ = await shop.admin("DELETE", f"/keys/{old['key-id']}")
    assert 200 == status
    # Nothing tells the operator; a wish lets it look sooner than its next round would.
    shop.annotate("fluxpay.io/force-delete=false")
    await until(lambda: shop.token() != old["api-key"], what="a new key")
    await eventually(lambda: shop.answers(201))
    assert "KeyReplaced" in shop.reasons()


def retiring(shop: Shop) -> list[object]:
    return [one for one in shop.resource()["status"]["keys"] if one.get("retiring")]


def is_tidy(shop: Shop) -> bool:
    found = shop.secret()
    if found is None:
        return False
    metadata = found["metadata"]
    labels = {"fluxpay.io/key": "till", "app.kubernetes.io/managed-by": "fluxpay-operator"}
    return labels.items() <= metadata.get("labels", {}).items() and bool(
        metadata.get("ownerReferences")
    )
