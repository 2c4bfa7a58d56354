"""The examples that ship are accepted as they stand, and one of them shows every field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fluxpay_operator.spec import Spec, parse_spec
from tests.cluster.examples import FOLDER, NAMES, example
from tests.cluster.kubectl import Kubectl
from tests.docs.pages import code
from tests.docs.tenant_fields import rows, schema


def paths(value: object, path: str) -> Iterator[str]:
    match value:
        case dict():
            for name, member in value.items():
                yield f"{path}.{name}".lstrip(".")
                yield from paths(member, f"{path}.{name}")
        case list():
            for item in value:
                yield from paths(item, f"{path}[]")
        case _:
            return


def applied(kubectl: Kubectl, name: str) -> dict[str, Any]:
    told = kubectl.ask("apply", f"--filename={FOLDER / name}.yaml")
    # No warning either.
    assert (0, "") == (told.code, told.err)
    return kubectl.get("tenant", example(name)["metadata"]["name"])


def test_every_example_is_tested() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_accepted_and_means_what_it_says(kubectl: Kubectl, name: str) -> None:
    """What the server gives back, defaults filled in, reads as what the file says."""
    wanted = parse_spec(example(name)["spec"])
    assert isinstance(wanted, Spec)
    assert wanted == parse_spec(applied(kubectl, name)["spec"])


def test_the_server_fills_in_the_defaults(kubectl: Kubectl) -> None:
    spec = applied(kubectl, "minimal")["spec"]
    assert ("active", "Retain", {"policy": "OnDemand", "overlap": "1h"}) == (
        spec["state"],
        spec["deletionPolicy"],
        spec["apiKeys"][0]["rotation"],
    )


def test_one_example_shows_every_field_but_the_one_for_adoption() -> None:
    known = {code(row[0]) for row in rows(schema()["properties"]["spec"])}
    # Below the two maps the names are the user's own.
    shown = {
        path for path in paths(example("live-full")["spec"], "") if "secretTemplate." not in path
    }
    template = {path for path in known if "secretTemplate." in path}
    assert known - template - {"tenantID"} == shown
    assert template == {
        f"secretTemplate.{name}" for name in example("live-full")["spec"]["secretTemplate"]
    }


def test_applying_twice_changes_nothing(kubectl: Kubectl) -> None:
    first, second = applied(kubectl, "live-full"), applied(kubectl, "live-full")
    assert first == second


def test_two_appliers_may_each_own_a_key(kubectl: Kubectl) -> None:
    """The lists are merged by name: server-side apply of one item leaves the others alone."""
    least = example("minimal")
    assert 0 == kubectl.apply(least, "--server-side", "--field-manager=one").code
    spec = {"apiKeys": [{"name": "kiosk", "scopes": ["payments:read"]}]}
    other = {**least, "spec": spec}
    assert 0 == kubectl.apply(other, "--server-side", "--field-manager=two").code
    keys = kubectl.get("tenant", "corner-shop")["spec"]["apiKeys"]
    assert ["till", "kiosk"] == [key["name"] for key in keys]
