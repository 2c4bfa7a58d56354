"""What may change in a Tenant, and what never may."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from fluxpay_operator.status import Status
from tests.cluster.examples import bookshop, example
from tests.cluster.kubectl import Kubectl, Told

OURS = "ten_01jzc7m0q8e9vs2dw4xg5tb6nk"
ANOTHER = "ten_01m8h0c7n4ee5s1r1v4c0dmc2h"


def made(kubectl: Kubectl, name: str = "minimal", **members: object) -> str:
    manifest = example(name)
    manifest["spec"] |= members
    told = kubectl.apply(manifest)
    assert 0 == told.code, told.err
    own_name: str = manifest["metadata"]["name"]
    return own_name


def patched(kubectl: Kubectl, name: str, document: dict[str, Any], *options: str) -> Told:
    body = json.dumps(document)
    return kubectl.ask("patch", "tenant", name, "--type=merge", f"--patch={body}", *options)


def spec_patched(kubectl: Kubectl, name: str, **members: object) -> Told:
    return patched(kubectl, name, {"spec": members})


def status_patched(kubectl: Kubectl, name: str, status: Status) -> Told:
    document = {"status": msgspec.to_builtins(status)}
    return patched(kubectl, name, document, "--subresource=status")


def test_the_environment_never_changes(kubectl: Kubectl) -> None:
    told = spec_patched(kubectl, made(kubectl), environment="live", apiKeys=None)
    assert 1 == told.code
    assert "environment is immutable: make a new Tenant for the other environment" in told.err


@pytest.mark.parametrize("changed", [ANOTHER, None])
def test_an_adopted_id_is_neither_changed_nor_taken_away(
    kubectl: Kubectl, changed: str | None
) -> None:
    name = made(kubectl, tenantID=OURS)
    told = spec_patched(kubectl, name, tenantID=changed)
    assert 1 == told.code
    assert "tenantID is immutable: put it back, or make a new Tenant" in told.err


def test_an_id_is_not_added_to_a_tenant_that_has_another(kubectl: Kubectl) -> None:
    name = made(kubectl)
    told = spec_patched(kubectl, name, tenantID=OURS)
    assert 1 == told.code
    words = "cannot be added to a running tenant, unless it is the value of status.tenantID"
    assert words in told.err
    assert 0 == status_patched(kubectl, name, Status(tenant_id=ANOTHER)).code
    assert words in spec_patched(kubectl, name, tenantID=OURS).err


def test_the_id_that_a_tenant_has_may_be_written_down(kubectl: Kubectl) -> None:
    """So that the manifest can make the same tenant again in another cluster."""
    name = made(kubectl)
    assert 0 == status_patched(kubectl, name, Status(tenant_id=OURS)).code
    assert (0, "") == (
        spec_patched(kubectl, name, tenantID=OURS).code,
        spec_patched(kubectl, name, tenantID=OURS).err,
    )


def test_the_id_in_the_status_never_changes(kubectl: Kubectl) -> None:
    name = made(kubectl)
    assert 0 == status_patched(kubectl, name, Status(tenant_id=OURS)).code
    told = status_patched(kubectl, name, Status(tenant_id=ANOTHER))
    assert 1 == told.code
    assert "a tenant keeps its id for life" in told.err


def test_a_reason_is_one_word(kubectl: Kubectl) -> None:
    name = made(kubectl)
    (first, *rest) = bookshop().conditions
    wordy = msgspec.structs.replace(first, reason="All is well")
    told = status_patched(kubectl, name, Status(conditions=(wordy, *rest)))
    assert 1 == told.code
    assert "must be one word in CamelCase" in told.err


def test_all_the_rest_may_change(kubectl: Kubectl) -> None:
    name = made(kubectl)
    spec = example("live-full")["spec"]
    changes = {field: value for field, value in spec.items() if field != "environment"}
    told = spec_patched(kubectl, name, **changes)
    assert (0, "") == (told.code, told.err)


def test_a_rule_between_fields_holds_for_changes_too(kubectl: Kubectl) -> None:
    name = made(kubectl, "live-full")
    told = spec_patched(kubectl, name, currencies=["EUR"])
    assert 1 == told.code
    assert "each paymentLimits[].currency must be one of currencies" in told.err


def test_status_and_spec_are_written_apart(kubectl: Kubectl) -> None:
    name = made(kubectl)
    both = {"spec": {"displayName": "Other"}, "status": {"keysReady": "9/9"}}
    assert 0 == patched(kubectl, name, both).code
    assert "status" not in kubectl.get("tenant", name)
    both["spec"] = {"displayName": "Third"}
    assert 0 == patched(kubectl, name, both, "--subresource=status").code
    found = kubectl.get("tenant", name)
    assert ("Other", "9/9", 2) == (
        found["spec"]["displayName"],
        found["status"]["keysReady"],
        found["metadata"]["generation"],
    )


def test_a_full_status_is_kept_as_it_was_written(kubectl: Kubectl) -> None:
    name = made(kubectl, "live-full")
    told = status_patched(kubectl, name, bookshop())
    assert (0, "") == (told.code, told.err)
    wanted = json.loads(msgspec.json.encode(bookshop()))
    assert wanted == kubectl.get("tenant", name)["status"]


def test_what_the_status_does_not_know_is_dropped(kubectl: Kubectl) -> None:
    """A secret written there by mistake would not be kept."""
    name = made(kubectl)
    document = {"status": {"keysReady": "1/1", "apiKey": "fp_test_secret"}}
    assert 0 == patched(kubectl, name, document, "--subresource=status").code
    assert {"keysReady": "1/1"} == kubectl.get("tenant", name)["status"]


def test_one_can_wait_for_a_tenant(kubectl: Kubectl) -> None:
    name = made(kubectl, "live-full")
    assert 0 == status_patched(kubectl, name, bookshop()).code
    waited = kubectl.run("wait", f"tenant/{name}", "--for=condition=Ready", "--timeout=30s")
    assert f"tenant.fluxpay.io/{name} condition met\n" == waited
