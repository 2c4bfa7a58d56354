"""A route as data: what it takes, what it answers, and which gates stand before it.

The application builds the gates from it and the OpenAPI document is generated from it, so what is
promised and what is done have one source. Must not know any route in particular.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from fluxpay.core.keys import Scope
from fluxpay.core.problems import Code

PLAIN_TEXT: Final = Annotated[str, msgspec.Meta(description="Text for people and programs.")]
"""What a route answers with that is neither JSON nor, as `str` stands for, a page."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path.

    Args:
        path: An aiohttp template, `/v1/payments/{payment_id}`.
        scope: What a key needs for it; None means that no key is asked for.
        idempotent: Whether it changes something and so needs an Idempotency-Key.
        summary: One line for the OpenAPI document.
        body: The type of its JSON body; None means that no body is read.
        body_is_optional: Whether the body may be left out, which then means an empty object.
        body_max_bytes: The most its body may have, where that is more than other routes take.
        query: The type of its query parameters.
        answer: The type of what it answers with on success.
        success: The status of that answer.
        problems: The refusals that are its own, besides those of the gates.
    """

    method: str
    path: str
    handler: Callable[[web.Request], Awaitable[web.Response]]
    scope: Scope | None = None
    idempotent: bool = False
    summary: str = ""
    body: type[msgspec.Struct] | None = None
    body_is_optional: bool = False
    body_max_bytes: int = 0
    query: type | None = None
    answer: Any = None
    success: int = 200
    problems: tuple[Code, ...] = ()


Gate = Callable[[Route, Handler], Handler]
"""Stands before the handler of a route, or gives the handler as it is where it has no business.

Asked once a route, when the application is built: a request meets the gates of its route alone.
"""
