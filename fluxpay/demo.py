"""The demo tenant of `fluxpay dev`: made through the admin API, the way an operator makes one.

Knows: what the demo tenant may do, and that its key is made here first and kept on disk before
its digest is registered. A crash between the two is repaired by registering the digest again.
Must not know: the stores. All it does goes over HTTP.
"""

import json
import secrets
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp
import uuid_utils

from fluxpay.core import credentials, ids
from fluxpay.core.ids import IdKind
from fluxpay.core.keys import Scope
from fluxpay.core.tenants import Environment
from fluxpay.embedded.places import write_private

TIMEOUT_S: Final = 30
CURRENCIES: Final = ("USD", "EUR", "GBP", "JPY")
PER_MINUTE: Final = 60_000
AMOUNT_MINOR_MAX: Final = 1_000_000
TENANT: Final[dict[str, object]] = {
    # Grows when this text changes, so that an older demo tenant is brought up to date.
    "generation": 1,
    "display_name": "Demo",
    "environment": Environment.TEST.value,
    "state": "active",
    "currencies": list(CURRENCIES),
    "rate_limits": [{"name": "default", "requests": PER_MINUTE, "window_s": 60}],
    "payment_limits": [
        {
            "currency": currency,
            "max_amount": AMOUNT_MINOR_MAX,
            "velocity": {"count": PER_MINUTE, "window_s": 60},
        }
        for currency in CURRENCIES
    ],
}


class DemoFailed(Exception):
    """The running service did not take the demo tenant; the text is one line."""


@dataclass(frozen=True, slots=True)
class Demo:
    """Who the demo tenant is, and the key in full."""

    tenant_id: str
    key_id: str
    api_key: str


async def register(admin_url: str, admin_token: str, kept_in: Path) -> Demo:
    """Make sure that the demo tenant and its key exist; whatever is there already stays.

    Raises: DemoFailed.
    """
    demo = _kept(kept_in) or _keep(kept_in, tenant_id=_new_id(IdKind.TENANT))
    headers = {"Authorization": f"Bearer {admin_token}"}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(admin_url, headers=headers, timeout=timeout) as session:
        tenant_path = f"/admin/v1/tenants/{demo.tenant_id}"
        status, detail = await _put(session, tenant_path, TENANT)
        # A conflict: somebody wrote a later generation of the tenant, and that one stays.
        if status != HTTPStatus.CONFLICT:
            _expect_done(tenant_path, (status, detail))
        status, detail = await _put_key(session, demo)
        if status == HTTPStatus.CONFLICT:
            # Somebody revoked the key, which is for good: the demo goes on with a new one.
            demo = _keep(kept_in, tenant_id=demo.tenant_id)
            status, detail = await _put_key(session, demo)
        _expect_done(f"{tenant_path}/keys/{demo.key_id}", (status, detail))
    return demo


async def _put_key(session: aiohttp.ClientSession, demo: Demo) -> tuple[int, str]:
    body: dict[str, object] = {
        "name": "demo",
        "prefix": credentials.shown_prefix(Environment.TEST, demo.key_id),
        "sha256": credentials.digest(demo.api_key),
        "scopes": sorted(Scope),
    }
    return await _put(session, f"/admin/v1/tenants/{demo.tenant_id}/keys/{demo.key_id}", body)


async def _put(
    session: aiohttp.ClientSession, path: str, body: dict[str, object]
) -> tuple[int, str]:
    try:
        async with session.put(path, json=body) as response:
            return response.status, await response.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        message = f"the admin API did not answer to PUT {path} ({type(error).__name__}); try again"
        raise DemoFailed(message) from error


def _expect_done(path: str, answer: tuple[int, str]) -> None:
    status, text = answer
    if status in (200, 201):
        return
    said = " ".join(text.split())[:300]
    message = f"the admin API answered {status} to PUT {path}: {said}; run: fluxpay dev --reset"
    raise DemoFailed(message)


def _kept(path: Path) -> Demo | None:
    try:
        kept = json.loads(path.read_text())
        return Demo(kept["tenant_id"], kept["key_id"], kept["api_key"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _keep(path: Path, *, tenant_id: str) -> Demo:
    key_id = _new_id(IdKind.KEY)
    entropy = secrets.token_bytes(credentials.SECRET_ENTROPY_BYTES)
    demo = Demo(tenant_id, key_id, credentials.mint(Environment.TEST, key_id, entropy))
    write_private(path, json.dumps(asdict(demo), indent=2) + "\n")
    return demo


def _new_id(kind: IdKind) -> str:
    return ids.encode(kind, uuid_utils.uuid7().int)
