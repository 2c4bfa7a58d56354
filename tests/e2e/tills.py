"""A tenant's till: sends one request after the other, and waits for each answer.

Synchronous, because a hypothesis state machine is. Must not know what the answers should be.
"""

import json
import uuid
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from uuid_utils import uuid7

from fluxpay.core.ids import IdKind, encode
from tests.e2e.serving import ADMIN_TOKEN, SCOPES, Service


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read to its end."""

    status: int
    is_replayed: bool
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Till:
    """A connection to the API port, with the key of one tenant."""

    tenant_id: str
    api_key: str
    connection: HTTPConnection

    def get(self, path: str) -> Any:
        """The document at a path."""
        answer = _send(self.connection, "GET", path, self.api_key)
        assert 200 == answer.status, (path, answer.body)
        return answer.document

    def pages(self, path: str) -> list[Any]:
        """All objects of a list, page after page."""
        page = self.get(path)
        found = list(page["data"])
        while page["next_cursor"] is not None:
            page = self.get(f"{path}&cursor={page['next_cursor']}")
            found += page["data"]
        return found

    def post(self, path: str, body: object, *, key: str | None = None) -> Answer:
        """Post under a key, by default a fresh one."""
        key = key or uuid.uuid4().hex
        return _send(self.connection, "POST", path, self.api_key, body=body, key=key)


def opened(service: Service, *, currencies: list[str]) -> Till:
    """Register a tenant that takes these currencies, as fast as it likes."""
    tenant_id = encode(IdKind.TENANT, uuid7().int)
    spec = {
        "generation": 1,
        "display_name": "Kiosk",
        "environment": "test",
        "state": "active",
        "currencies": currencies,
        "rate_limits": [{"name": "default", "requests": 1_000_000, "window_s": 60}],
    }
    admin, path = _connection(service.admin_url), f"/admin/v1/tenants/{tenant_id}"
    _send(admin, "PUT", path, ADMIN_TOKEN, body=spec)
    wanted = {"name": "till", "scopes": SCOPES}
    made = _send(admin, "POST", f"{path}/keys", ADMIN_TOKEN, body=wanted)
    admin.close()
    assert 201 == made.status, made.body
    return Till(tenant_id, made.document["api_key"], _connection(service.api_url))


def _connection(url: str) -> HTTPConnection:
    place = urlsplit(url)
    assert place.hostname is not None
    return HTTPConnection(place.hostname, place.port, timeout=30)


def _send(
    connection: HTTPConnection,
    method: str,
    path: str,
    token: str,
    *,
    body: object = None,
    key: str | None = None,
) -> Answer:
    headers = {"Authorization": f"Bearer {token}"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    if key is not None:
        headers["Idempotency-Key"] = key
    sent = None if body is None else json.dumps(body).encode()
    connection.request(method, path, body=sent, headers=headers)
    response = connection.getresponse()
    is_replayed = response.headers.get("Idempotent-Replayed") == "true"
    return Answer(response.status, is_replayed, response.read())
