"""A page for every problem, where its `type` leads: what it means, and what to do.

Rendered from the one table of problems. The pages need no script and nothing from elsewhere, and
their policy allows nothing but the one style they carry. Must not know what any problem is about.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from aiohttp import web

from fluxpay.core.problems import PROBLEMS, Code, Refused, problem_type
from fluxpay.web.problems import respond

if TYPE_CHECKING:
    from collections.abc import Mapping

_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 1rem/1.6 system-ui, sans-serif; max-width: 42rem; margin: 0 auto; padding: 2rem 1rem; }
code { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
h1 { line-height: 1.25; }
dt { margin-top: 1rem; }
dd { margin-left: 0; }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'"
        ),
        "Cache-Control": "public, max-age=3600",
    }
)


async def show(request: web.Request) -> web.Response:
    """`GET /problems/{code}`."""
    page = _PAGES.get(request.match_info["code"])
    if page is None:
        return respond(Refused(Code.NOT_FOUND, "There is no such problem."), request)
    return respond_with(page)


async def index(_request: web.Request) -> web.Response:
    """`GET /problems`."""
    return respond_with(_INDEX)


def respond_with(page: bytes) -> web.Response:
    """Answer with a page, under the policy that allows it nothing but its style."""
    return web.Response(body=page, content_type="text/html", charset="utf-8", headers=_HEADERS)


def write(title: str, main: str) -> bytes:
    """Write a whole page.

    Args:
        main: HTML that follows the title.
    """
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} - FluxPay</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
{main}
</main>
</body>
</html>
""".encode()


def _problem_page(code: Code) -> bytes:
    problem = PROBLEMS[code]
    kept = "A replay of the request gets the same answer." if problem.stored else ""
    main = f"""<p>Code <code>{code}</code>, HTTP status {problem.status}.</p>
<h2>What it means</h2>
<p>{escape(problem.title)}. The <code>detail</code> of the answer tells this occurrence. {kept}</p>
<h2>What to do</h2>
<p>{with_code(problem.remedy)}</p>
<p><a href="/problems">All problems</a></p>"""
    return write(problem.title, main)


def with_code(text: str) -> str:
    """Give text as HTML: what stands between backticks is code."""
    parts = escape(text).split("`")
    return "".join(
        f"<code>{part}</code>" if position % 2 else part for position, part in enumerate(parts)
    )


def _index_page() -> bytes:
    items = "\n".join(
        f'<dt><a href="{problem_type(code)}"><code>{code}</code></a></dt>\n'
        f"<dd>{escape(PROBLEMS[code].title)} ({PROBLEMS[code].status})</dd>"
        for code in PROBLEMS
    )
    return write("Problems", f"<dl>\n{items}\n</dl>")


_PAGES: Final[Mapping[str, bytes]] = MappingProxyType(
    {code.value: _problem_page(code) for code in PROBLEMS}
)
_INDEX: Final = _index_page()
