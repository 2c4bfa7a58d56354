"""What most handlers do: ask the world one question, and answer with a document.

Must not know what questions and documents mean. Replies that were committed once are rendered in
`idempotency`, refusals in `problems`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from aiohttp import web

from fluxpay.core.payments import encode
from fluxpay.web.context import WORLD
from fluxpay.web.driver import drive

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fluxpay.core.effects import Effect

R = TypeVar("R")


async def ask(request: web.Request, effect: Effect[R]) -> R:
    """Ask the world one question. An effect is a step by itself, so this too goes by the driver."""
    return await drive(iter(effect), request.app[WORLD])


def answer(
    document: Mapping[str, object], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A document as a JSON response."""
    return web.Response(
        status=status, body=encode(document), content_type="application/json", headers=headers
    )
