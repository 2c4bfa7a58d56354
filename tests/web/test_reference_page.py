"""The page that shows the API to people: all that the document says, and no dead link."""

import base64
import hashlib

from fluxpay.core.problems import PROBLEMS, Code, problem_type
from fluxpay.web.openapi import document
from fluxpay.web.routes import API_ROUTES
from tests.web.service import Service
from tests.web.test_problem_pages import Outline, page_at, style_of, text_of


async def test_every_operation_is_shown_with_what_it_needs(service: Service) -> None:
    _, page = await page_at(service, "/docs")
    _, *parts = page.split("<h2 id=")
    shown = dict(text_of(part.partition(">")[2]).split("\n", 1) for part in parts)
    assert {f"{route.method} {route.path}" for route in API_ROUTES} == set(shown)
    for route in API_ROUTES:
        text = shown[f"{route.method} {route.path}"]
        needed = "No key is needed." if route.scope is None else f"needs the scope {route.scope}."
        assert text.startswith(f"{route.summary}. ")
        assert needed in text
        assert route.idempotent is ("Idempotency-Key" in text)
        assert all(code in text for code in route.problems)


async def test_every_object_is_shown_with_its_members(service: Service) -> None:
    _, page = await page_at(service, "/docs")
    for name, schema in document()["components"]["schemas"].items():
        part = page.partition(f'<h3 id="{name}">')[2].partition("<h3")[0]
        for member in schema.get("properties", {}):
            assert f"<code>{member}</code>" in part
        for value in schema.get("enum", ()):
            assert f"<code>{value}</code>" in part


async def test_every_link_leads_somewhere(service: Service) -> None:
    _, page = await page_at(service, "/docs")
    outline = Outline(page)
    assert [] == outline.open
    within = {link[1:] for link in outline.links if link.startswith("#")}
    assert set() == {name for name in within if f'id="{name}"' not in page}
    away = {link for link in outline.links if not link.startswith("#")}

    known = {"/openapi.json", "/problems", *map(problem_type, PROBLEMS)}
    assert away <= known
    assert {"/openapi.json", "/problems", problem_type(Code.FRAUD_REJECTED)} <= away


async def test_the_page_may_load_nothing_and_run_nothing_but_its_own_style(
    service: Service,
) -> None:
    answer, page = await page_at(service, "/docs")
    digest = base64.b64encode(hashlib.sha256(style_of(page).encode()).digest()).decode()
    policy = answer.headers["Content-Security-Policy"]
    assert f"default-src 'none'; style-src 'sha256-{digest}';" in policy
    assert "script" not in Outline(page).seen
