"""An answer on its way: head and body as one piece.

aiohttp puts a head together in several steps, looking for what no answer of ours has: cookies,
compression, chunks, a body that is still to come. An answer here is whole before its first byte
leaves. What aiohttp's request handler asks of one, to send it, is a letter's two methods and
whether the connection lives on.

Must not know what a head says. Source: RFC 9112, section 9.3, for the connection.
"""

from aiohttp import hdrs, web

from fluxpay.web.forwarded import Networks
from fluxpay.web.headers import head_of


class Letter:
    """An answer under its head.

    Args:
        answer: A plain one: its body is bytes or nothing, and it has no cookies.
        request: What it answers.
        trusted: The proxies whose word about TLS counts.
        last: Whether the connection takes no further request.

    Raises:
        TypeError: The body is neither bytes nor nothing.
        ValueError: A header would be read as several.
    """

    __slots__ = ("_text", "_writer", "keep_alive")

    def __init__(
        self, answer: web.Response, request: web.BaseRequest, *, trusted: Networks, last: bool
    ) -> None:
        body = answer.body or b""
        if not isinstance(body, bytes):
            raise TypeError("the body of an answer is bytes")
        self.keep_alive = not last and _lives_on(answer, request)
        head = head_of(
            answer,
            request,
            length_bytes=len(body),
            keep_alive=self.keep_alive,
            trusted=trusted,
        )
        self._text = head if request.method == hdrs.METH_HEAD else head + body
        self._writer = request.writer

    async def prepare(self, _request: web.BaseRequest) -> None:
        """Write it."""
        await self._writer.write(self._text)

    async def write_eof(self) -> None:
        """Wait while the client leaves too much of it unread."""
        await self._writer.drain()


def _lives_on(answer: web.Response, request: web.BaseRequest) -> bool:
    """Whether the connection may take a further request after this one."""
    # False where the answer forces it closed, and otherwise None.
    if answer.keep_alive is False or not request.keep_alive:
        return False
    # A body that was expected but never asked for will not come, or not be told from a request.
    return hdrs.EXPECT not in request.headers or request.content.is_eof()
