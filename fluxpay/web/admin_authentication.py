"""The gate of the admin port: one of the tokens that are valid now.

Several are valid at once so that they can be rotated without a pause: add the new one to the file,
move the callers over, take the old one out. The file is read again when it changes. Must not know
what an admin may do.
"""

import hmac
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from fluxpay.core.problems import Code, Refused
from fluxpay.observability import errors, logs
from fluxpay.settings import Settings, tokens_in
from fluxpay.web.context import PROBES
from fluxpay.web.problems import respond
from fluxpay.web.route import Gate, Route

_LOG: Final = logs.logger("fluxpay.web")
_LOOK_AGAIN_S: Final = 1.0


class AdminTokens:
    """The tokens of the settings and of their file, as the file is now."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = monotonic) -> None:
        self._fixed = _encoded(settings.admin_token or "")
        self._path = settings.admin_token_file
        self._clock = clock
        self._from_file: tuple[bytes, ...] = ()
        self._seen: tuple[int, int, int] | None = None
        self._next_look_s = float("-inf")

    def admit(self, token: str) -> bool:
        """Tell whether the token is one of them, in a time that does not tell which."""
        presented = token.encode("utf-8", "surrogateescape")
        is_known = False
        for valid in (*self._fixed, *self._current()):
            is_known |= hmac.compare_digest(presented, valid)
        return is_known

    def _current(self) -> tuple[bytes, ...]:
        now_s = self._clock()
        if self._path is not None and now_s >= self._next_look_s:
            self._next_look_s = now_s + _LOOK_AGAIN_S
            self._look(self._path)
        return self._from_file

    def _look(self, path: Path) -> None:
        try:
            status = path.stat()
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if seen != self._seen:
                self._from_file = _encoded(path.read_text())
                self._seen = seen
        except (OSError, ValueError) as error:
            # Without its file nobody is admitted by it: a withdrawn token must not live on.
            if self._from_file or self._seen is None:
                _LOG.warning("admin_tokens_unreadable", error=errors.told(error))
            self._from_file, self._seen = (), (0, 0, 0)


def admin_authentication(tokens: AdminTokens) -> Gate:
    """Make the gate; probes and metrics stand outside it."""

    def before(route: Route, handler: Handler) -> Handler:
        if route.path in PROBES:
            return handler

        async def authenticate(request: web.Request) -> web.StreamResponse:
            told = request.headers.getall(hdrs.AUTHORIZATION, ())
            scheme, _, token = (told[0] if len(told) == 1 else "").partition(" ")
            if scheme.lower() == "bearer" and token and tokens.admit(token.strip()):
                return await handler(request)
            return respond(Refused(Code.UNAUTHORIZED, "A valid admin token is required."), request)

        return authenticate

    return before


def _encoded(text: str) -> tuple[bytes, ...]:
    return tuple(token.encode() for token in tokens_in(text))
