"""The pages that explain problems: one for each, without a key, and nothing but text and style."""

import base64
import hashlib
import re
from html import unescape
from html.parser import HTMLParser

from fluxpay.core.problems import PROBLEMS, Code, problem_type
from tests.web.service import Answer, Service

NO_KEY = {"Authorization": ""}
VOID = {"meta", "link", "br"}


class Outline(HTMLParser):
    """The elements of a page, whether they are closed in order, and where its links lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [value for name, value in attrs if name in {"href", "src"} and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()


def text_of(page: str) -> str:
    return unescape(re.sub(r"<[^>]+>", "", page))


def style_of(page: str) -> str:
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    return str(style)


async def page_at(service: Service, path: str) -> tuple[Answer, str]:
    answer = await service.call("GET", path, headers=NO_KEY)
    assert (200, "text/html; charset=utf-8") == (answer.status, answer.headers["Content-Type"])
    return answer, answer.body.decode()


async def test_every_problem_has_a_page_that_says_what_to_do(service: Service) -> None:
    for code, problem in PROBLEMS.items():
        _, page = await page_at(service, problem_type(code))
        text = text_of(page)
        assert f"<h1>{problem.title}</h1>" in page
        assert f"Code {code}, HTTP status {problem.status}." in text
        assert problem.remedy.replace("`", "") in text
        outline = Outline(page)
        assert [] == outline.open
        assert ["/problems"] == outline.links


async def test_the_list_leads_to_every_problem(service: Service) -> None:
    _, page = await page_at(service, "/problems")
    outline = Outline(page)
    assert [] == outline.open
    assert [problem_type(code) for code in PROBLEMS] == outline.links


async def test_a_page_may_load_nothing_and_run_nothing_but_its_own_style(service: Service) -> None:
    for path in ("/problems", problem_type(Code.NOT_FOUND)):
        answer, page = await page_at(service, path)
        digest = base64.b64encode(hashlib.sha256(style_of(page).encode()).digest()).decode()
        policy = answer.headers.getall("Content-Security-Policy")  # type: ignore[attr-defined]
        expected = (
            f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'"
        )
        assert [expected] == policy
        assert not {"script", "img", "link", "iframe"} & set(Outline(page).seen)
        assert "style=" not in page


async def test_a_page_reads_well_in_the_light_and_in_the_dark(service: Service) -> None:
    _, page = await page_at(service, problem_type(Code.NOT_FOUND))
    assert '<html lang="en">' in page
    assert "color-scheme: light dark" in style_of(page)
    # No colour is named, so the browser's own two schemes apply, and their contrast with them.
    assert not re.search(r"(?<!-)\bcolor:|background", style_of(page))


async def test_an_unknown_code_is_a_problem_itself(service: Service) -> None:
    for code in ("no_such_code", "NOT_FOUND", "%3Cscript%3E"):
        answer = await service.call("GET", f"/problems/{code}", headers=NO_KEY)
        assert (404, "not_found") == (answer.status, answer.code)


async def test_the_type_of_a_real_problem_leads_to_its_page(service: Service) -> None:
    refused = await service.call("GET", "/v1/payments", headers=NO_KEY)
    _, page = await page_at(service, refused.document["type"])
    assert f"<h1>{refused.document['title']}</h1>" in page
