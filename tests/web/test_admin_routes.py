"""The admin routes, over HTTP, on the real service."""

import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from fluxpay.core.credentials import digest, is_well_formed, mint, shown_prefix
from fluxpay.core.ids import IdKind, encode
from fluxpay.core.tenants import Environment
from tests.web.service import Answer, Service

TENANT: dict[str, Any] = {
    "generation": 1,
    "display_name": "Acme",
    "environment": "test",
    "state": "active",
    "currencies": ["EUR", "JPY"],
}
LIMITS: dict[str, Any] = {
    "rate_limits": [
        {"name": "default", "requests": 100, "window_s": 60},
        {"name": "pay", "route": "POST /v1/payments", "requests": 9, "window_s": 1, "burst": 12},
    ],
    "payment_limits": [
        {"currency": "EUR", "max_amount": 10_000},
        {
            "currency": "JPY",
            "max_amount": 5,
            "daily_volume": 500,
            "velocity": {"count": 3, "window_s": 60},
        },
    ],
}


def new_id(kind: IdKind) -> str:
    return encode(kind, uuid.uuid4().int)


def key_body(**changes: object) -> dict[str, object]:
    key = {
        "name": "shop",
        "prefix": "fp_test_abc",
        "sha256": hashlib.sha256(uuid.uuid4().bytes).hexdigest(),
        "scopes": ["payments:read"],
    }
    return key | changes


def told(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.code


def pointers(answer: Answer) -> list[str]:
    return [error["pointer"] for error in answer.document["errors"]]


async def put(service: Service, tenant_id: str, **changes: object) -> Answer:
    return await service.admin("PUT", f"/admin/v1/tenants/{tenant_id}", json=TENANT | changes)


async def test_a_tenant_is_written_and_read_back_with_all_its_limits(service: Service) -> None:
    tenant_id = new_id(IdKind.TENANT)
    made = await put(service, tenant_id, **LIMITS)
    path = f"/admin/v1/tenants/{tenant_id}"
    assert (201, path) == (made.status, made.headers["Location"])
    tenant = made.document
    daily, unlimited = LIMITS["payment_limits"][1], LIMITS["payment_limits"][0]
    expected = TENANT | {
        "id": tenant_id,
        "object": "tenant",
        "rate_limits": [
            LIMITS["rate_limits"][0] | {"route": None, "burst": None},
            LIMITS["rate_limits"][1],
        ],
        "payment_limits": [unlimited | {"daily_volume": None, "velocity": None}, daily],
        "created_at": tenant["created_at"],
        "closed_at": None,
    }
    assert expected == tenant
    read = await service.admin("GET", path)
    assert (200, tenant) == (read.status, read.document)


async def test_a_generation_is_written_once_and_never_taken_back(service: Service) -> None:
    tenant_id = new_id(IdKind.TENANT)
    await put(service, tenant_id, generation=5)
    same = await put(service, tenant_id, generation=5, display_name="Ignored")
    newer = await put(service, tenant_id, generation=6, display_name="Newer", rate_limits=None)
    stale = await put(service, tenant_id, generation=5)
    assert (200, "Acme") == (same.status, same.document["display_name"])
    assert (200, "Newer") == (newer.status, newer.document["display_name"])
    assert newer.document["rate_limits"] == []
    assert (409, "stale_generation") == told(stale)
    assert 6 == stale.document["current_generation"]


async def test_the_environment_of_a_tenant_is_fixed(service: Service) -> None:
    tenant_id = new_id(IdKind.TENANT)
    await put(service, tenant_id)
    moved = await put(service, tenant_id, generation=2, environment="live")
    assert (409, "environment_fixed") == told(moved)


async def test_a_closed_tenant_stays_closed_and_its_keys_are_refused(service: Service) -> None:
    path = f"/admin/v1/tenants/{service.tenant_id}"
    assert (await service.call("GET", "/v1/payments")).status == 200
    closed = await service.admin("DELETE", path)
    again = await service.admin("DELETE", path)
    assert (200, "closed") == (closed.status, closed.document["state"])
    assert closed.document["closed_at"] is not None
    assert closed.body == again.body
    assert (409, "tenant_closed") == told(await put(service, service.tenant_id, generation=9))
    key = await service.admin("POST", f"{path}/keys", json={"name": "k", "scopes": ["ledger:read"]})
    assert (409, "tenant_closed") == told(key)
    assert (401, "unauthorized") == told(await service.call("GET", "/v1/payments"))
    keys = (await service.admin("GET", f"{path}/keys")).document["data"]
    assert [True] == [key["revoked_at"] is not None for key in keys]


async def test_tenants_are_listed_by_id_page_by_page(service: Service) -> None:
    made = [new_id(IdKind.TENANT) for _ in range(4)]
    for tenant_id in made:
        await put(service, tenant_id)
    found, path = [], "/admin/v1/tenants?limit=2"
    while path:
        page = await service.admin("GET", path)
        found += [tenant["id"] for tenant in page.document["data"]]
        cursor = page.document["next_cursor"]
        path = f"/admin/v1/tenants?limit=2&cursor={cursor}" if cursor else ""
    assert sorted([*made, service.tenant_id]) == found
    wrong = await service.admin("GET", "/admin/v1/tenants?cursor=made-up&limit=2")
    assert (400, "invalid_parameter") == told(wrong)


async def test_wrong_tenants_are_refused_field_by_field(service: Service) -> None:
    quota = {"name": "default", "requests": 1, "window_s": 1}
    cases: list[tuple[dict[str, object], list[str]]] = [
        ({"generation": 0, "state": "closed"}, ["#/generation", "#/state"]),
        ({"currencies": ["EUR", "XXX"]}, ["#/currencies/1"]),
        ({"rate_limits": [quota | {"route": "/v1/nowhere"}]}, ["#/rate_limits/0/route"]),
        ({"rate_limits": [quota | {"route": "PUT /v1/payments"}]}, ["#/rate_limits/0/route"]),
        ({"rate_limits": [quota | {"name": "x\r\nSet-Cookie: a=b"}]}, ["#/rate_limits/0/name"]),
        (
            {"payment_limits": [{"currency": "USD", "max_amount": 1}]},
            ["#/payment_limits/0/currency"],
        ),
    ]
    for changes, expected in cases:
        answer = await put(service, new_id(IdKind.TENANT), **changes)
        assert (422, "validation_failed") == told(answer)
        assert expected == pointers(answer)


async def test_a_quota_may_name_every_route_that_is_limited(service: Service) -> None:
    named = ("/v1/payments/{payment_id}", "GET /v1/payments/{payment_id}/entries", None)
    quotas = [
        {"name": f"q{n}", "route": route, "requests": 1, "window_s": 1}
        for n, route in enumerate(named)
    ]
    assert (await put(service, new_id(IdKind.TENANT), rate_limits=quotas)).status == 201


async def test_an_id_in_the_path_that_is_none_is_refused_on_put_and_not_found_otherwise(
    service: Service,
) -> None:
    key_path = f"/admin/v1/tenants/{service.tenant_id}/keys"
    for tenant_id in ("ten_1", new_id(IdKind.KEY), "ten_%00"):
        answer = await put(service, tenant_id)
        assert (422, ["#/tenant_id"]) == (answer.status, pointers(answer))
        path = f"/admin/v1/tenants/{tenant_id}"
        wrong_tenant = await service.admin("PUT", f"{path}/keys/key_1", json=key_body())
        assert ["#/tenant_id"] == pointers(wrong_tenant)
        new_key = {"name": "k", "scopes": ["payments:read"]}
        answers = [
            await service.admin("GET", path),
            await service.admin("DELETE", path),
            await service.admin("GET", f"{path}/keys"),
            await service.admin("POST", f"{path}/keys", json=new_key),
            await service.admin("GET", f"{path}/keys/{new_id(IdKind.KEY)}"),
            await service.admin("DELETE", f"{path}/keys/{new_id(IdKind.KEY)}"),
            await service.admin("GET", f"{key_path}/{tenant_id}"),
            await service.admin("DELETE", f"{key_path}/{tenant_id}"),
        ]
        assert [(404, "not_found")] * 8 == [told(answer) for answer in answers]
    wrong_key = await service.admin("PUT", f"{key_path}/key_1", json=key_body())
    assert (422, ["#/key_id"]) == (wrong_key.status, pointers(wrong_key))


async def test_what_does_not_exist_is_not_found(service: Service) -> None:
    path, key_id = f"/admin/v1/tenants/{new_id(IdKind.TENANT)}", new_id(IdKind.KEY)
    mine = f"/admin/v1/tenants/{service.tenant_id}"
    new_key = {"name": "k", "scopes": ["payments:read"]}
    answers = [
        await service.admin("GET", path),
        await service.admin("DELETE", path),
        await service.admin("GET", f"{path}/keys"),
        await service.admin("POST", f"{path}/keys", json=new_key),
        await service.admin("PUT", f"{path}/keys/{key_id}", json=key_body()),
        await service.admin("GET", f"{mine}/keys/{key_id}"),
        await service.admin("DELETE", f"{mine}/keys/{key_id}"),
    ]
    assert [(404, "not_found")] * 7 == [told(answer) for answer in answers]


async def test_a_key_made_here_is_shown_once_and_works(service: Service) -> None:
    path = f"/admin/v1/tenants/{service.tenant_id}/keys"
    wanted = {"name": "shop", "scopes": ["payments:read"], "allowed_cidrs": ["127.0.0.1"]}
    made = await service.admin("POST", path, json=wanted)
    key = made.document
    token = key.pop("api_key")
    assert (201, f"{path}/{key['id']}") == (made.status, made.headers["Location"])
    assert is_well_formed(token)
    assert token.startswith(key["prefix"] + "_")
    assert digest(token) == key["sha256"]
    assert (["payments:read"], ["127.0.0.1/32"]) == (key["scopes"], key["allowed_cidrs"])
    read = await service.admin("GET", made.headers["Location"])
    listed = await service.admin("GET", path)
    assert key == read.document
    assert key in listed.document["data"]
    assert token.encode() not in read.body + listed.body
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await service.call("GET", "/v1/payments", headers=bearer)).status == 200


async def test_a_key_made_elsewhere_is_registered_once_and_works(service: Service) -> None:
    key_id = new_id(IdKind.KEY)
    token = mint(Environment.TEST, key_id, bytes(range(24)))
    path = f"/admin/v1/tenants/{service.tenant_id}/keys/{key_id}"
    body = key_body(
        prefix=shown_prefix(Environment.TEST, key_id),
        sha256=digest(token).upper(),
        expires_at="2999-01-01T02:00:00.1239+02:00",
        allowed_cidrs=["127.0.0.0/8", "2001:DB8::/32"],
    )
    first, second = [await service.admin("PUT", path, json=body) for _ in range(2)]
    assert (201, path) == (first.status, first.headers["Location"])
    assert (200, first.body) == (second.status, second.body)
    key = first.document
    assert (digest(token), "2999-01-01T00:00:00.123Z") == (key["sha256"], key["expires_at"])
    assert ["127.0.0.0/8", "2001:db8::/32"] == key["allowed_cidrs"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await service.call("GET", "/v1/payments", headers=bearer)).status == 200
    changed = await service.admin("PUT", path, json=body | {"scopes": ["ledger:read"]})
    assert (200, ["ledger:read"]) == (changed.status, changed.document["scopes"])
    denied = await service.call("GET", "/v1/payments", headers=bearer)
    assert (403, "scope_missing") == told(denied)


async def test_a_digest_belongs_to_one_key_for_ever(service: Service) -> None:
    path = f"/admin/v1/tenants/{service.tenant_id}/keys"
    body, key_id = key_body(), new_id(IdKind.KEY)
    await service.admin("PUT", f"{path}/{key_id}", json=body)
    twin = await service.admin("PUT", f"{path}/{new_id(IdKind.KEY)}", json=body)
    other = await service.admin("PUT", f"{path}/{key_id}", json=key_body())
    assert [(409, "key_conflict")] * 2 == [told(twin), told(other)]


async def test_a_revoked_key_is_refused_and_cannot_be_registered_again(service: Service) -> None:
    token = await service.new_key()
    path = f"/admin/v1/tenants/{service.tenant_id}/keys"
    keys = (await service.admin("GET", path)).document["data"]
    key_id = next(key["id"] for key in keys if key["sha256"] == digest(token))
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await service.call("GET", "/v1/payments", headers=bearer)).status == 200
    revoked = await service.admin("DELETE", f"{path}/{key_id}")
    again = await service.admin("DELETE", f"{path}/{key_id}")
    assert revoked.document["revoked_at"] is not None
    assert (200, 200, revoked.body) == (revoked.status, again.status, again.body)
    denied = await service.call("GET", "/v1/payments", headers=bearer)
    assert (401, "unauthorized") == told(denied)
    body = key_body(sha256=digest(token))
    put_back = await service.admin("PUT", f"{path}/{key_id}", json=body)
    assert (409, "key_conflict") == told(put_back)


async def test_wrong_keys_are_refused_field_by_field(service: Service) -> None:
    path = f"/admin/v1/tenants/{service.tenant_id}/keys"
    registered: list[tuple[dict[str, object], list[str]]] = [
        ({"prefix": "fp_live_abc"}, ["#/prefix"]),
        ({"sha256": "abc", "scopes": []}, ["#/sha256", "#/scopes"]),
        ({"allowed_cidrs": ["10.0.0.1/8"]}, ["#/allowed_cidrs/0"]),
        ({"expires_at": "9999-12-31T23:59:59-12:00"}, ["#/expires_at"]),
    ]
    for changes, expected in registered:
        body = key_body(**changes)
        answer = await service.admin("PUT", f"{path}/{new_id(IdKind.KEY)}", json=body)
        assert (422, "validation_failed", expected) == (*told(answer), pointers(answer))
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    made: list[tuple[dict[str, object], list[str]]] = [
        ({"expires_at": past}, ["#/expires_at"]),
        ({"sha256": "ab" * 32}, ["#/sha256"]),
        ({"name": ""}, ["#/name"]),
    ]
    for changes, expected in made:
        wanted = {"name": "k", "scopes": ["payments:read"]} | changes
        answer = await service.admin("POST", path, json=wanted)
        assert (422, "validation_failed", expected) == (*told(answer), pointers(answer))
