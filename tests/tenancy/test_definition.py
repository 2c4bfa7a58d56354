"""The CRD as it ships says what the models say, and leaves nothing without a bound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
import yaml
from msgspec import Meta

from fluxpay_operator.crd import definition, manifest
from fluxpay_operator.key_specs import KeySpec, RotationPolicy
from fluxpay_operator.marks import rotation_wish
from fluxpay_operator.schema import Unbounded, schema_of
from fluxpay_operator.spec import InvalidSpec, Spec, WantedState, parse_spec

SHIPPED = Path(__file__).parents[2] / "charts/fluxpay/files/crds/tenants.fluxpay.io.yaml"
LEAST = {"displayName": "Corner shop", "environment": "test", "currencies": ["EUR"]}


def spec_of(**members: object) -> Spec:
    parsed = parse_spec({**LEAST, **members})
    assert isinstance(parsed, Spec), parsed
    return parsed


def nodes(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, member in schema.get("properties", {}).items():
        yield from nodes(member, f"{path}.{name}")
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            yield from nodes(schema[inner], f"{path}[]")


def whole_schema() -> dict[str, Any]:
    (version,) = definition()["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def own_nodes() -> list[tuple[str, dict[str, Any]]]:
    return [node for node in nodes(whole_schema()) if node[0].startswith((".spec", ".status"))]


def test_the_file_that_ships_is_what_the_models_say() -> None:
    assert manifest() == SHIPPED.read_text(encoding="utf-8"), "run `make crd`"


def test_what_ships_reads_back_as_what_was_meant() -> None:
    assert definition() == yaml.safe_load(manifest())


def test_every_text_number_list_and_map_is_bounded() -> None:
    bound = {"string": ("maxLength", "enum"), "array": ("maxItems",), "integer": ("maximum",)}
    free = [
        path
        for path, node in own_nodes()
        if not any(
            name in node for name in bound.get(node["type"], ("properties", "maxProperties"))
        )
    ]
    assert [] == free


def test_every_field_is_described() -> None:
    fields = [node for node in own_nodes() if not node[0].endswith("[]")]
    assert [] == [path for path, node in fields if not node.get("description")]


def test_every_list_says_how_its_items_are_told_apart() -> None:
    lists = [node for node in own_nodes() if node[1]["type"] == "array"]
    assert [] == [path for path, node in lists if "x-kubernetes-list-type" not in node]


def test_a_field_without_a_bound_makes_no_definition() -> None:
    class Free(msgspec.Struct):
        note: Annotated[str, Meta(description="As long as you like.")]

    with pytest.raises(Unbounded, match=r"Free\.note"):
        schema_of(Free)


def test_the_operator_reads_the_defaults_that_the_server_writes() -> None:
    """A manifest that leaves them out, and one that spells them out, mean the same."""
    spelled: dict[str, object] = {
        "state": "active",
        "deletionPolicy": "Retain",
        "apiKeys": [
            {
                "name": "till",
                "scopes": ["payments:write"],
                "rotation": {"policy": "OnDemand", "overlap": "1h"},
            }
        ],
    }
    bare = {"apiKeys": [{"name": "till", "scopes": ["payments:write"]}]}
    assert spec_of(**spelled) == spec_of(**bare)
    schema = whole_schema()["properties"]["spec"]["properties"]
    key = schema["apiKeys"]["items"]["properties"]
    assert WantedState.ACTIVE == schema["state"]["default"]
    assert {"policy": "OnDemand", "overlap": "1h"} == key["rotation"]["default"]


def test_durations_are_read_as_seconds() -> None:
    rotation = {"policy": "Automatic", "interval": "30d", "overlap": "90m"}
    key = {"name": "till", "scopes": ["payments:write"], "expiresAfter": "12h"}
    (read,) = spec_of(apiKeys=[{**key, "rotation": rotation}]).api_keys
    assert isinstance(read, KeySpec)
    assert RotationPolicy.AUTOMATIC is read.rotation.policy
    assert read.expires_after is not None
    assert read.rotation.interval is not None
    assert (43_200, 2_592_000, 5400) == (
        read.expires_after.seconds,
        read.rotation.interval.seconds,
        read.rotation.overlap.seconds,
    )


def test_members_of_a_newer_version_are_passed_over() -> None:
    assert spec_of() == spec_of(colour="green")


@pytest.mark.parametrize(
    ("members", "detail"),
    [
        ({"state": "asleep"}, "Invalid enum value 'asleep' - at `spec.state`"),
        ({"displayName": 7}, "Expected `str`, got `int` - at `spec.displayName`"),
        (
            {"apiKeys": [{"name": "till", "scopes": ["payments:write"], "expiresAfter": "soon"}]},
            (
                "'soon' is not a duration such as 45s, 30m, 12h or 90d - at "
                "`spec.apiKeys[0].expiresAfter`"
            ),
        ),
    ],
)
def test_a_spec_that_no_definition_of_ours_lets_in_is_told_by_its_field(
    members: dict[str, object], detail: str
) -> None:
    assert InvalidSpec(detail) == parse_spec({**LEAST, **members})


def test_a_wish_to_rotate_names_its_key_and_is_cut_to_what_the_status_can_hold() -> None:
    annotations = {"rotate.fluxpay.io/till": "7" * 100, "rotate.fluxpay.io/shop": "1"}
    assert ("7" * 64, "1", None) == (
        rotation_wish(annotations, "till"),
        rotation_wish(annotations, "shop"),
        rotation_wish(annotations, "else"),
    )
