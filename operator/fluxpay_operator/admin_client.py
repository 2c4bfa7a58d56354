"""The service's admin API, from the side of the one who calls it.

Knows its routes, its documents and its problems, and turns them into the core's nouns. The token is
read from its file whenever that changes, so that it can be rotated under a running operator. Every
call can be repeated. Must not know Kubernetes, nor when a failed call is tried again.
"""

from __future__ import annotations

import json
import ssl
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from fluxpay.core.fraud import PaymentLimit
from fluxpay.core.keys import ApiKey, Scope
from fluxpay.core.limits import Quota
from fluxpay.core.payments import instant
from fluxpay.core.tenants import Environment, Tenant, TenantSpec, TenantState
from fluxpay.observability.work import Part, asking, place_of, shown_url

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fluxpay.core.key_rotation import RegisterKey
    from fluxpay.settings import OperatorSettings

_TENANT: Final = "/admin/v1/tenants/{tenant_id}"
_KEYS: Final = "/admin/v1/tenants/{tenant_id}/keys"
_KEY: Final = "/admin/v1/tenants/{tenant_id}/keys/{key_id}"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10, sock_connect=3)
_CONNECTIONS_MAX: Final = 16
_NOT_FOUND: Final = 404
_SERVER_FAULT: Final = 500
_OK_MAX: Final = 299
_LATER: Final = frozenset({408, 425, 429})
_NOT_ADMITTED: Final = frozenset({401, 403})
_RETRY_AFTER_S_MAX: Final = 300
_DETAIL_CHARS_MAX: Final = 600
CALLED: Final = ("ok", "not_found", "refused", "not_admitted", "unavailable")
"""What comes of a request."""


class AdminUnavailable(Exception):
    """The admin API cannot be reached, or does not serve; later it may.

    Args:
        retry_after_s: What it asked for, if it did.
    """

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class AdminNotAdmitted(Exception):
    """The admin API does not know our token."""


class AdminRefused(Exception):
    """The admin API will not do this, now or later."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class AdminToken:
    """The token as the file says now; of several, the first."""

    def __init__(self, settings: OperatorSettings) -> None:
        self._path: Path | None = settings.admin_token_file
        self._token = (settings.admin_token or "").split()[:1]
        self._seen: tuple[int, int, int] | None = None

    def header(self) -> str:
        """What goes into `Authorization`.

        Raises: AdminNotAdmitted when there is no token to be found.
        """
        if self._path is not None:
            self._look(self._path)
        if not self._token:
            raise AdminNotAdmitted("the file of the admin token is empty or cannot be read")
        return f"Bearer {self._token[0]}"

    def _look(self, path: Path) -> None:
        try:
            status = path.stat()
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if seen != self._seen:
                self._token = path.read_text(encoding="ascii").split()[:1]
                self._seen = seen
        except (OSError, ValueError):
            self._token, self._seen = [], None


class AdminClient:
    """The admin API at one address.

    Args:
        on_called: Told what came of each request, one of `CALLED`.
    """

    def __init__(
        self, settings: OperatorSettings, *, on_called: Callable[[str], None] = lambda _: None
    ) -> None:
        self._on_called = on_called
        self._url = settings.operator_admin_url
        self._place = place_of(settings.operator_admin_url)
        self._token = AdminToken(settings)
        ca_file = settings.operator_admin_ca_file
        tls = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS_MAX, ssl=tls),
            timeout=_TIMEOUT,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def tenant(self, tenant_id: str) -> Tenant | None:
        """Read a tenant."""
        found = await self._call("GET", _TENANT, tenant_id=tenant_id)
        return None if found is None else _tenant(found)

    async def put_tenant(self, tenant_id: str, spec: TenantSpec) -> None:
        """Register a tenant, or bring it up to date."""
        await self._write("PUT", _TENANT, _tenant_body(spec), tenant_id=tenant_id)

    async def close_tenant(self, tenant_id: str) -> None:
        """Close a tenant; one that is not there is as closed as can be."""
        await self._call("DELETE", _TENANT, tenant_id=tenant_id)

    async def keys(self, tenant_id: str) -> tuple[ApiKey, ...]:
        """Read all keys of a tenant, revoked ones included."""
        found = await self._call("GET", _KEYS, tenant_id=tenant_id)
        return () if found is None else tuple(_key(one) for one in found["data"])

    async def put_key(self, tenant_id: str, key: RegisterKey) -> None:
        """Register a key, or write its terms anew."""
        await self._write("PUT", _KEY, _key_body(key), tenant_id=tenant_id, key_id=key.key_id)

    async def revoke_key(self, tenant_id: str, key_id: str) -> None:
        """End a key; one that is not there is as revoked as can be."""
        await self._call("DELETE", _KEY, tenant_id=tenant_id, key_id=key_id)

    async def _write(self, method: str, route: str, body: dict[str, object], **ids: str) -> None:
        if await self._call(method, route, body, **ids) is None:
            # Only a service that has lost the tenant between two calls says so to a PUT.
            raise AdminUnavailable("the tenant was not found though it was just registered")

    async def _call(
        self, method: str, route: str, body: dict[str, object] | None = None, **ids: str
    ) -> dict[str, Any] | None:
        result = "unavailable"
        try:
            found = await self._asked(method, route, body, **ids)
            result = "not_found" if found is None else "ok"
        except AdminRefused:
            result = "refused"
            raise
        except AdminNotAdmitted:
            result = "not_admitted"
            raise
        finally:
            self._on_called(result)
        return found

    async def _asked(
        self, method: str, route: str, body: dict[str, object] | None, **ids: str
    ) -> dict[str, Any] | None:
        url = self._url + route.format(**ids)
        attributes: dict[str, str | int] = {
            **self._place,
            "http.request.method": method,
            "url.full": shown_url(url),
            "url.template": route,
        }
        with asking(f"{method} {route}", attributes) as part:
            answer, content = await self._send(method, url, body, part)
            part.answered(answer.status)
        if answer.status == _NOT_FOUND:
            return None
        if answer.status <= _OK_MAX:
            return _document(content)
        if answer.status >= _SERVER_FAULT or answer.status in _LATER:
            raise AdminUnavailable(
                f"it answers {answer.status}", retry_after_s=_retry_after_s(answer)
            )
        if answer.status in _NOT_ADMITTED:
            raise AdminNotAdmitted(str(_refusal(answer.status, content)))
        raise _refusal(answer.status, content)

    async def _send(
        self, method: str, url: str, body: dict[str, object] | None, part: Part
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        headers = {"Authorization": self._token.header(), "traceparent": part.traceparent}
        try:
            # A redirect would carry the token to who knows where.
            async with self._session.request(
                method, url, json=body, headers=headers, allow_redirects=False
            ) as answer:
                return answer, await answer.read()
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            raise AdminUnavailable(f"it cannot be reached ({type(error).__name__})") from error


def _document(content: bytes) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(content)
    except ValueError as error:
        raise AdminUnavailable("it does not answer in JSON; is this the admin API?") from error
    return document


def _refusal(status: int, content: bytes) -> AdminRefused:
    """Turn a problem into an exception; something that is none still says its status."""
    try:
        problem = json.loads(content)
        faults = [f"{one['pointer']} {one['detail']}" for one in problem.get("errors", ())]
        told = " ".join([str(problem["detail"]), *faults])
        return AdminRefused(str(problem["code"]), told[:_DETAIL_CHARS_MAX])
    except (ValueError, KeyError, TypeError):
        return AdminRefused("refused", f"It answers {status} and does not say why.")


def _retry_after_s(answer: aiohttp.ClientResponse) -> float:
    told = answer.headers.get("Retry-After", "")
    return float(min(int(told), _RETRY_AFTER_S_MAX)) if told.isascii() and told.isdigit() else 0.0


def _tenant_body(spec: TenantSpec) -> dict[str, object]:
    return {
        "generation": spec.generation,
        "display_name": spec.display_name,
        "environment": spec.environment,
        "state": spec.state,
        "currencies": list(spec.currencies),
        "rate_limits": [
            {
                "name": one.name,
                "route": one.route,
                "requests": one.requests,
                "window_s": one.window_s,
                "burst": one.burst,
            }
            for one in spec.rate_limits
        ],
        "payment_limits": [_payment_limit_body(one) for one in spec.payment_limits],
    }


def _payment_limit_body(limit: PaymentLimit) -> dict[str, object]:
    velocity = None
    if limit.velocity_count is not None:
        velocity = {"count": limit.velocity_count, "window_s": limit.velocity_window_s}
    return {
        "currency": limit.currency,
        "max_amount": limit.max_amount_minor,
        "daily_volume": limit.daily_volume_minor,
        "velocity": velocity,
    }


def _key_body(key: RegisterKey) -> dict[str, object]:
    return {
        "name": key.name,
        "prefix": key.prefix,
        "sha256": key.digest,
        "scopes": sorted(key.scopes),
        "expires_at": None if key.expires_at is None else instant(key.expires_at),
        "allowed_cidrs": list(key.allowed_cidrs),
    }


def _tenant(document: dict[str, Any]) -> Tenant:
    closed_at = _instant_or_none(document["closed_at"])
    state = TenantState(document["state"])
    return Tenant(
        id=document["id"],
        spec=TenantSpec(
            generation=document["generation"],
            display_name=document["display_name"],
            environment=Environment(document["environment"]),
            # What was asked for before it was closed is no longer told, and matters to nobody.
            state=TenantState.ACTIVE if closed_at is not None else state,
            currencies=tuple(document["currencies"]),
            rate_limits=tuple(Quota(**one) for one in document["rate_limits"]),
            payment_limits=tuple(_payment_limit(one) for one in document["payment_limits"]),
        ),
        created_at=datetime.fromisoformat(document["created_at"]),
        closed_at=closed_at,
    )


def _payment_limit(document: dict[str, Any]) -> PaymentLimit:
    velocity = document["velocity"] or {}
    return PaymentLimit(
        currency=document["currency"],
        max_amount_minor=document["max_amount"],
        daily_volume_minor=document["daily_volume"],
        velocity_count=velocity.get("count"),
        velocity_window_s=velocity.get("window_s"),
    )


def _key(document: dict[str, Any]) -> ApiKey:
    return ApiKey(
        id=document["id"],
        tenant_id=document["tenant_id"],
        name=document["name"],
        prefix=document["prefix"],
        digest=document["sha256"],
        scopes=frozenset(Scope(one) for one in document["scopes"]),
        created_at=datetime.fromisoformat(document["created_at"]),
        not_before=_instant_or_none(document["not_before"]),
        expires_at=_instant_or_none(document["expires_at"]),
        revoked_at=_instant_or_none(document["revoked_at"]),
        allowed_cidrs=tuple(document["allowed_cidrs"]),
    )


def _instant_or_none(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
