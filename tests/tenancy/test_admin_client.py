"""The admin API's answers, as the operator takes them; its token and its certificate."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fluxpay.core.tenants import Environment, TenantSpec, TenantState
from fluxpay.settings import OperatorSettings
from fluxpay_operator.admin_client import (
    CALLED,
    AdminClient,
    AdminNotAdmitted,
    AdminRefused,
    AdminUnavailable,
)
from tests.web.certificates import write_certificate

TENANT = "ten_01jzc7m0q8e9vs2dw4xg5tb6nk"
SPEC = TenantSpec(1, "Shop", Environment.TEST, TenantState.ACTIVE, ("EUR",))
PROBLEM = {
    "code": "validation_failed",
    "detail": "It is not valid.",
    "errors": [{"pointer": "#/currencies", "detail": "Must not be empty."}],
}


@dataclass
class Script:
    """What the server answers, and what it was asked."""

    status: int = 200
    body: str = "{}"
    headers: dict[str, str] = field(default_factory=dict)
    seen: list[tuple[str, str, str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "")
        self.seen.append((request.method, request.path, token))
        return web.Response(status=self.status, text=self.body, headers=self.headers)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def settings(script: Script, tmp_path: Path) -> AsyncIterator[OperatorSettings]:
    """A server that speaks TLS with a certificate that only we trust."""
    write_certificate(tmp_path)
    (tmp_path / "token").write_text("first second\n", encoding="ascii")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", script.answer)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield OperatorSettings(
        operator_admin_url=f"https://127.0.0.1:{runner.addresses[0][1]}",
        operator_api_url="https://pay.example.com",
        admin_token_file=tmp_path / "token",
        admin_token=None,
        operator_admin_ca_file=tmp_path / "cert.pem",
    )
    await runner.cleanup()


@pytest.fixture
async def client(settings: OperatorSettings) -> AsyncIterator[AdminClient]:
    made = AdminClient(settings)
    yield made
    await made.close()


async def test_the_first_token_of_the_file_is_shown_as_the_file_is_now(
    client: AdminClient, script: Script, settings: OperatorSettings
) -> None:
    await client.close_tenant(TENANT)
    assert settings.admin_token_file is not None
    settings.admin_token_file.write_text("second\n", encoding="ascii")
    await client.close_tenant(TENANT)
    path = f"/admin/v1/tenants/{TENANT}"
    assert [("DELETE", path, "Bearer first"), ("DELETE", path, "Bearer second")] == script.seen


async def test_without_a_token_nobody_is_asked(
    client: AdminClient, script: Script, settings: OperatorSettings
) -> None:
    assert settings.admin_token_file is not None
    settings.admin_token_file.unlink()
    with pytest.raises(AdminNotAdmitted):
        await client.tenant(TENANT)
    assert [] == script.seen


async def test_a_certificate_of_nobody_we_trust_is_a_server_that_cannot_be_reached(
    settings: OperatorSettings, script: Script
) -> None:
    stranger = AdminClient(
        OperatorSettings(
            operator_admin_url=settings.operator_admin_url,
            operator_api_url=settings.operator_api_url,
            admin_token_file=settings.admin_token_file,
            admin_token=None,
        )
    )
    try:
        with pytest.raises(AdminUnavailable):
            await stranger.tenant(TENANT)
    finally:
        await stranger.close()
    assert [] == script.seen


async def test_a_redirect_is_not_followed(client: AdminClient, script: Script) -> None:
    script.status, script.headers = 302, {"Location": "https://127.0.0.1:1/steal"}
    with pytest.raises(AdminRefused):
        await client.tenant(TENANT)
    assert 1 == len(script.seen)


async def test_what_is_not_there_is_nothing(client: AdminClient, script: Script) -> None:
    script.status = 404
    assert (None, ()) == (await client.tenant(TENANT), await client.keys(TENANT))
    await client.revoke_key(TENANT, "key_any")
    with pytest.raises(AdminUnavailable):
        await client.put_tenant(TENANT, SPEC)


async def test_what_came_of_each_request_is_told(
    settings: OperatorSettings, script: Script
) -> None:
    told: list[str] = []
    client = AdminClient(settings, on_called=told.append)
    try:
        for status in (200, 404, 503, 401, 422):
            script.status, script.body = status, json.dumps(PROBLEM)
            with suppress(AdminUnavailable, AdminNotAdmitted, AdminRefused):
                await client.close_tenant(TENANT)
    finally:
        await client.close()
    assert ["ok", "not_found", "unavailable", "not_admitted", "refused"] == told
    assert set(CALLED) == set(told)


ANSWERS: dict[str, tuple[int, str, type[Exception]]] = {
    "broken": (500, "", AdminUnavailable),
    "full": (503, "", AdminUnavailable),
    "too often": (429, "", AdminUnavailable),
    "who are you": (401, json.dumps(PROBLEM), AdminNotAdmitted),
    "by http": (403, "", AdminNotAdmitted),
    "a refusal": (422, json.dumps(PROBLEM), AdminRefused),
    "a refusal in no words": (400, "<html>", AdminRefused),
    "no JSON": (200, "<html>", AdminUnavailable),
}


@pytest.mark.parametrize("case", ANSWERS)
async def test_an_answer_tells_whether_to_ask_again(
    case: str, client: AdminClient, script: Script
) -> None:
    script.status, script.body, expected = ANSWERS[case]
    with pytest.raises(expected):
        await client.put_tenant(TENANT, SPEC)


async def test_a_refusal_has_the_words_of_the_service(client: AdminClient, script: Script) -> None:
    script.status, script.body = 422, json.dumps(PROBLEM)
    with pytest.raises(AdminRefused) as caught:
        await client.put_tenant(TENANT, SPEC)
    expected = ("validation_failed", "It is not valid. #/currencies Must not be empty.")
    assert expected == (caught.value.code, str(caught.value))


RETRY_AFTER: dict[str, Any] = {"7": 7.0, "999999": 300.0, "Sat, 28 Nov 2026": 0.0, "": 0.0}


@pytest.mark.parametrize("text", RETRY_AFTER)
async def test_the_pause_that_is_asked_for_is_taken_within_bounds(
    text: str, client: AdminClient, script: Script
) -> None:
    script.status, script.headers = 503, {"Retry-After": text}
    with pytest.raises(AdminUnavailable) as caught:
        await client.tenant(TENANT)
    assert RETRY_AFTER[text] == caught.value.retry_after_s
