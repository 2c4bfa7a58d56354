"""What the API server refuses, and that its words tell what to fix."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.kubectl import Kubectl

ISO = "must be the ISO 4217 code of a currency in circulation, in capitals, such as EUR"
ID = "must be a tenant id: ten_ and 26 characters, such as ten_01jzc7m0q8e9vs2dw4xg5tb6nk"
LABEL = "must be lower-case letters, digits and hyphens, with a letter or digit at both ends"
DURATION = "in body should match '^[0-9]{1,4}[smhd]$'"
NETWORK = "must be a network in CIDR notation with its host bits zero, such as 10.0.0.0/8"
HTTPS = "must be an https:// URL without user or password"
GONE = object()


def spec(**members: object) -> dict[str, Any]:
    least = {"displayName": "Shop", "environment": "test", "currencies": ["EUR"]}
    return {name: one for name, one in {**least, **members}.items() if one is not GONE}


def key(**members: object) -> dict[str, Any]:
    return spec(apiKeys=[{"name": "till", "scopes": ["payments:write"], **members}])


def rotation(**members: object) -> dict[str, Any]:
    return key(rotation={"policy": "Automatic", "interval": "30d", **members})


def quota(**members: object) -> dict[str, Any]:
    return spec(rateLimits=[{"name": "default", "requests": 10, "window": "1m", **members}])


def limit(**members: object) -> dict[str, Any]:
    return spec(paymentLimits=[{"currency": "EUR", "maxAmount": 100, **members}])


def webhook(**members: object) -> dict[str, Any]:
    return spec(webhooks=[{"name": "orders", "url": "https://shop.example/hook", **members}])


def twice(field: str, item: dict[str, Any]) -> dict[str, Any]:
    return spec(**{field: [item, item]})


BAD: list[tuple[dict[str, Any], str]] = [
    (spec(displayName=GONE), "spec.displayName: Required value"),
    (spec(displayName=""), "spec.displayName in body should be at least 1 chars long"),
    (spec(displayName="x" * 201), "spec.displayName: Too long: may not be more than 200"),
    (spec(environment=GONE), "spec.environment: Required value"),
    (spec(environment="prod"), 'Unsupported value: "prod": supported values: "live", "test"'),
    (spec(state="closed"), 'Unsupported value: "closed": supported values: "active", "suspended"'),
    (spec(deletionPolicy="Orphan"), 'supported values: "Retain", "Delete"'),
    (spec(tenantID="acme"), f'spec.tenantID: Invalid value: "acme": {ID}'),
    (spec(tenantID="ten_01JZC7M0Q8E9VS2DW4XG5TB6NK"), ID),
    (spec(tenantID="pay_01jzc7m0q8e9vs2dw4xg5tb6nk"), ID),
    (spec(currencies=GONE), "spec.currencies: Required value"),
    (spec(currencies=[]), "spec.currencies in body should have at least 1 items"),
    (spec(currencies=["EURO"]), f'spec.currencies[0]: Invalid value: "EURO": {ISO}'),
    (spec(currencies=["eur"]), ISO),
    (spec(currencies=["XAU"]), ISO),
    (spec(currencies=["EUR", "EUR"]), 'spec.currencies[1]: Duplicate value: "EUR"'),
    (spec(colour="green"), 'unknown field "spec.colour"'),
    (key(cidrs=[]), 'unknown field "spec.apiKeys[0].cidrs"'),
    (quota(burst=9), "spec.rateLimits[0].burst: Invalid value: burst must not be less than"),
    (quota(requests=0), "requests in body should be greater than or equal to 1"),
    (quota(requests="10"), "requests in body must be of type integer"),
    (quota(name="per minute"), "must be letters, digits, dots, hyphens and underscores"),
    (quota(route="payments"), "must be a path, or a method and a path, such as 'POST /v1/paymen"),
    (quota(window="60"), f"spec.rateLimits[0].window {DURATION}"),
    (quota(window="2d"), 'window: Invalid value: "2d": must last from 1s to 1d, such as 60s or 5m'),
    (twice("rateLimits", {"name": "a", "requests": 1, "window": "1s"}), 'value: {"name":"a"}'),
    (
        spec(rateLimits=[{"name": f"n{n}", "requests": 1, "window": "1s"} for n in range(33)]),
        "spec.rateLimits: Too many: 33: must have at most 32 items",
    ),
    (limit(currency="USD"), "each paymentLimits[].currency must be one of currencies"),
    (limit(maxAmount=0), "maxAmount in body should be greater than or equal to 1"),
    (limit(maxAmount=2**53), "should be less than or equal to 9007199254740991"),
    (limit(maxAmount=12.5), "spec.paymentLimits[0].maxAmount in body must be of type int"),
    (limit(velocity={"count": 5}), "spec.paymentLimits[0].velocity.window: Required value"),
    (
        twice("paymentLimits", {"currency": "EUR", "maxAmount": 1}),
        'spec.paymentLimits[1]: Duplicate value: {"currency":"EUR"}',
    ),
    (key(name="Till"), f'spec.apiKeys[0].name: Invalid value: "Till": {LABEL}'),
    (key(name="till\n"), LABEL),
    (key(scopes=[]), "spec.apiKeys[0].scopes in body should have at least 1 items"),
    (key(scopes=["payments:all"]), 'Unsupported value: "payments:all": supported values: "paym'),
    (key(scopes=["ledger:read"] * 2), 'scopes[1]: Duplicate value: "ledger:read"'),
    (
        twice("apiKeys", {"name": "till", "scopes": ["ledger:read"]}),
        'spec.apiKeys[1]: Duplicate value: {"name":"till"}',
    ),
    (key(expiresAfter="90 days"), f"spec.apiKeys[0].expiresAfter {DURATION}"),
    (key(expiresAfter="59s", rotation={"overlap": "1s"}), "must last at least 1m, such as 90d"),
    (
        {**key(), "environment": "live"},
        "keys of the environment live must expire: give each an expiresAfter, such as 90d",
    ),
    (rotation(policy="Yearly"), 'supported values: "Automatic", "OnDemand"'),
    (
        key(rotation={"policy": "Automatic"}),
        "rotation.interval: Invalid value: policy Automatic needs an interval, such as 30d",
    ),
    (
        key(rotation={"interval": "30d"}),
        "interval is for policy Automatic only: set that policy, or remove interval",
    ),
    (rotation(interval="29s", overlap="1s"), "must last at least 30s, such as 30d"),
    (
        rotation(interval="1h", overlap="60m"),
        "spec.apiKeys[0].rotation.overlap: Invalid value: overlap must be shorter than interval",
    ),
    (
        key(expiresAfter="30d", rotation={"overlap": "720h"}),
        "spec.apiKeys[0].rotation.overlap: Invalid value: rotation.overlap must be shorter than",
    ),
    (
        key(expiresAfter="30d", rotation={"policy": "Automatic", "interval": "720h"}),
        "rotation.interval must be shorter than expiresAfter, or the key ends before its",
    ),
    (key(allowedCIDRs=["10.0.0.1"]), f'allowedCIDRs[0]: Invalid value: "10.0.0.1": {NETWORK}'),
    (key(allowedCIDRs=["10.0.0.1/8"]), NETWORK),
    (key(allowedCIDRs=["fe80::%eth0/64"]), NETWORK),
    (webhook(url="http://shop.example"), f'url: Invalid value: "http://shop.example": {HTTPS}'),
    (webhook(url="https://a:b@shop.example"), HTTPS),
    (webhook(url="shop.example/hook"), HTTPS),
    (webhook(events=["Payment made"]), "must be an event type, such as payment.captured"),
    (spec(secretTemplate={"name": "Shop"}), f'Invalid value: "Shop": {LABEL}'),
    (
        spec(secretTemplate={"labels": {"app.fluxpay.io/key": "x"}}),
        "keys must not have the prefix fluxpay.io, which is the operator's own",
    ),
    (
        spec(secretTemplate={"annotations": {"an owner": "x"}}),
        "keys must be names as Kubernetes wants them, such as example.com/owner",
    ),
    (
        spec(secretTemplate={"labels": {"owner": "team checkout"}}),
        "must be letters, digits, dots, hyphens and underscores, with a letter or digit at both",
    ),
]


def manifest(body: dict[str, Any], name: str = "shop") -> dict[str, Any]:
    return {
        "apiVersion": "fluxpay.io/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": name},
        "spec": body,
    }


@pytest.mark.parametrize(("body", "words"), BAD, ids=lambda one: one if type(one) is str else "")
def test_a_bad_manifest_is_refused_with_what_to_fix(
    kubectl: Kubectl, body: dict[str, Any], words: str
) -> None:
    told = kubectl.apply(manifest(body))
    assert 1 == told.code, told.out
    assert words in told.err
    assert "" == kubectl.run("get", "tenants", "--output=name")


def test_a_name_too_long_for_a_label_is_refused(kubectl: Kubectl) -> None:
    told = kubectl.apply(manifest(spec(), name="s" * 64))
    assert 1 == told.code
    assert "metadata.name must have at most 63 characters" in told.err
    assert 0 == kubectl.apply(manifest(spec(), name="s" * 63)).code


@pytest.mark.parametrize(
    "body",
    [
        spec(),
        quota(burst=10, route="/v1/payments"),
        quota(window="24h"),
        limit(maxAmount=2**53 - 1),
        rotation(interval="30s", overlap="0s"),
        rotation(interval="719h", overlap="718h"),
        key(expiresAfter="721h", rotation={"policy": "Automatic", "interval": "30d"}),
        key(allowedCIDRs=["10.1.2.3/32", "fd00::/8", "0.0.0.0/0"]),
        webhook(url="https://shop.example:8443/hook?from=fluxpay"),
        spec(secretTemplate={"labels": {"notfluxpay.io/key": "", "owner": "a_b.c"}}),
    ],
    ids=str,
)
def test_what_is_just_within_the_bounds_is_accepted(kubectl: Kubectl, body: dict[str, Any]) -> None:
    """So that the table above cannot pass by refusing everything."""
    told = kubectl.apply(manifest(body))
    assert (0, "") == (told.code, told.err)
