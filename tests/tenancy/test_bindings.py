"""A Secret is ours or it is not; what it holds is whole or it is not."""

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from fluxpay.core.key_rotation import HeldKey, Holding
from fluxpay.core.tenants import Environment
from fluxpay_operator import bindings
from fluxpay_operator.bindings import OwnerReference, Place

NOW = datetime(2026, 11, 28, 13, 20, 6, 199000, tzinfo=UTC)
UUID = int(NOW.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62 | 12345
PLACE = Place(
    namespace="shops",
    name="shop-till",
    owner=OwnerReference("shop", "uid-of-shop"),
    tenant_name="shop",
    tenant_id="ten_01jzc7m0q8e9vs2dw4xg5tb6nk",
    environment=Environment.TEST,
    key_name="till",
    uri="https://pay.example.com",
    labels={"team": "checkout"},
    annotations={"example.com/owner": "me"},
)
KEY = bindings.mint(Environment.TEST, uuid=UUID, entropy=bytes(range(24)))


def secret() -> dict[str, Any]:
    """The Secret as the operator writes it."""
    return copy.deepcopy(
        bindings.manifest(PLACE, token=KEY.token, key_id=KEY.id, rotation_request="once")
    )


def test_what_was_written_is_read() -> None:
    expected = HeldKey(KEY.id, KEY.prefix, KEY.digest, NOW, "once", is_tidy=True)
    assert expected == bindings.read(secret(), PLACE)


def test_a_key_tells_when_it_was_made() -> None:
    assert NOW == KEY.issued_at


def test_an_instant_beyond_the_calendar_is_far_ahead_and_no_error() -> None:
    assert 9999 == bindings.issued_at("7zzzzzzzzzzzzzzzzzzzzzzzzz").year


def test_no_secret_is_missing() -> None:
    assert Holding.MISSING is bindings.read(None, PLACE)


def relabelled(found: dict[str, Any]) -> None:
    found["metadata"]["labels"] = {}


def disowned(found: dict[str, Any]) -> None:
    found["metadata"]["ownerReferences"] = []


def stripped(found: dict[str, Any]) -> None:
    relabelled(found)
    disowned(found)


def taken_over(found: dict[str, Any]) -> None:
    found["metadata"]["ownerReferences"] = [{"uid": "somebody-else", "name": "other"}]


def of_another_tenant(found: dict[str, Any]) -> None:
    disowned(found)
    found["metadata"]["annotations"]["fluxpay.io/tenant-id"] = "ten_other"


OWNERSHIP: dict[str, tuple[Callable[[dict[str, Any]], None], bool]] = {
    "it lost its labels": (relabelled, True),
    "it lost its owner": (disowned, True),
    "it lost both": (stripped, False),
    "it has another owner": (taken_over, False),
    "it was left behind by another tenant": (of_another_tenant, False),
}


@pytest.mark.parametrize("case", OWNERSHIP)
def test_what_is_not_certainly_ours_is_foreign(case: str) -> None:
    edit, is_ours = OWNERSHIP[case]
    found = secret()
    edit(found)
    held = bindings.read(found, PLACE)
    assert is_ours == (held is not Holding.FOREIGN)
    assert not is_ours or (isinstance(held, HeldKey) and not held.is_tidy)


def test_somebodys_own_secret_of_that_name_is_foreign() -> None:
    found = {"metadata": {"name": "shop-till", "namespace": "shops"}, "data": {"password": "eA=="}}
    assert Holding.FOREIGN is bindings.read(found, PLACE)


BROKEN: dict[str, str | None] = {
    "no key": None,
    "an empty one": "",
    "no base64": "%%%",
    "no text": "/w==",
    "half a key": "ZnBfdGVzdF8=",
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_key_that_is_not_whole_is_broken(case: str) -> None:
    found, text = secret(), BROKEN[case]
    if text is None:
        del found["data"]["api-key"]
    else:
        found["data"]["api-key"] = text
    assert Holding.BROKEN is bindings.read(found, PLACE)


def test_a_key_of_the_other_environment_is_broken() -> None:
    assert Holding.BROKEN is bindings.read(secret(), replace(PLACE, environment=Environment.LIVE))


@pytest.mark.parametrize("entry", ["type", "provider", "uri", "key-id"])
def test_an_edited_entry_makes_it_untidy_and_leaves_the_key(entry: str) -> None:
    found = secret()
    found["data"][entry] = "ZWRpdGVk"
    held = bindings.read(found, PLACE)
    assert isinstance(held, HeldKey)
    assert (KEY.digest, False) == (held.digest, held.is_tidy)


def test_what_others_add_is_theirs() -> None:
    found = secret()
    found["data"]["mine"] = "bWluZQ=="
    found["metadata"]["labels"]["mine"] = "too"
    held = bindings.read(found, PLACE)
    assert isinstance(held, HeldKey)
    assert held.is_tidy


def test_what_we_wrote_and_is_no_longer_wanted_makes_it_untidy() -> None:
    found, fewer = applied(secret()), replace(PLACE, labels={}, annotations={})
    tidy = bindings.read(found, PLACE)
    for place in (replace(PLACE, labels={}), replace(PLACE, annotations={}), fewer):
        held = bindings.read(found, place)
        assert isinstance(held, HeldKey)
        assert (KEY.digest, False) == (held.digest, held.is_tidy)
    assert isinstance(tidy, HeldKey)
    assert tidy.is_tidy


def applied(found: dict[str, Any]) -> dict[str, Any]:
    """As the API server keeps what we applied."""
    ours: dict[str, Any] = {
        f"f:{kind}": {".": {}} | {f"f:{name}": {} for name in found["metadata"][kind]}
        for kind in ("labels", "annotations")
    }
    theirs: dict[str, Any] = {"f:labels": {"f:mine": {}}}
    found["metadata"]["labels"]["mine"] = "too"
    found["metadata"]["managedFields"] = [
        {"manager": manager, "operation": operation, "fieldsV1": {"f:metadata": fields}}
        for manager, operation, fields in (
            ("fluxpay-operator", "Apply", ours),
            ("kubectl-label", "Update", theirs),
        )
    ]
    return found


def test_a_wish_that_somebody_edited_is_cut_to_what_counts() -> None:
    found = secret()
    found["metadata"]["annotations"]["fluxpay.io/rotation-handled"] = "x" * 100
    held = bindings.read(found, PLACE)
    assert isinstance(held, HeldKey)
    assert ("x" * 64, False) == (held.rotation_request, held.is_tidy)


def test_a_released_secret_keeps_everything_but_its_owner() -> None:
    found = secret() | {"metadata": secret()["metadata"] | {"resourceVersion": "7"}}
    released = bindings.released(found, PLACE)
    assert [] == released["metadata"]["ownerReferences"]
    assert found["data"] == released["data"]
    assert "7" == released["metadata"]["resourceVersion"]
    assert isinstance(bindings.read(released, replace(PLACE, owner=None)), HeldKey)
