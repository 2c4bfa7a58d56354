"""Pages of a list, and cursors: where the list goes on, as an opaque word.

A cursor names the last object of a page. It is base64url, so that nobody is tempted to make one
by hand and what it holds may change; the id in it is checked as any other id is. Must not know
what is listed.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from fluxpay.core.ids import IdKind, is_id
from fluxpay.core.problems import Code, FieldError
from fluxpay.web.answers import answer
from fluxpay.web.validation import invalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiohttp import web
    from multidict import MultiMapping

    from fluxpay.core.problems import Refused


def encode(word: str) -> str:
    """Write the cursor of the page that follows what this word names, mostly an object's id."""
    return base64.urlsafe_b64encode(word.encode()).decode().rstrip("=")


def decode(cursor: str, kind: IdKind) -> str | None:
    """Read the id that a cursor names; None when it is no cursor of ours."""
    last_id = decode_word(cursor)
    return last_id if last_id is not None and is_id(kind, last_id) else None


def decode_word(cursor: str) -> str | None:
    """Read the word in a cursor, unchecked; None when none was ever written like this."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        word = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, UnicodeError):
        return None
    # Base64 has several spellings for one text; only the one that was handed out is taken.
    return word if encode(word) == cursor else None


def next_link(path: str, query: MultiMapping[str], cursor: str) -> str:
    """The `Link` header that leads to the next page, with the filters kept (RFC 8288)."""
    kept = [(name, value) for name, value in query.items() if name != "cursor"]
    return f'<{path}?{urlencode([*kept, ("cursor", cursor)])}>; rel="next"'


def page(
    request: web.Request,
    *,
    data: Sequence[dict[str, object]],
    last_id: str | None,
    members: Mapping[str, object] | None = None,
) -> web.Response:
    """A page of a list.

    Args:
        request: What asked for it; the link to the next page keeps its filters.
        data: The objects on this page.
        last_id: The last of them, if there is a page after this one.
        members: What else the page tells.
    """
    cursor = None if last_id is None else encode(last_id)
    headers = None
    if cursor is not None:
        headers = {"Link": next_link(request.path, request.query, cursor)}
    return answer({"data": data, "next_cursor": cursor, **(members or {})}, headers=headers)


def refusal() -> Refused:
    """The refusal of a cursor that is none of ours."""
    wrong = FieldError("#/cursor", "Must be the next_cursor of the page before.")
    return invalid(wrong, code=Code.INVALID_PARAMETER)
