"""The probes: whether this process is alive, and whether it should be sent requests.

Live means that the event loop turns, and nothing else: a process is not restarted because a
database is down. Ready asks the dependencies, at most once a second however many probes come.
On the way out it is not ready, so that balancers turn away before the sockets close.

Must not know how a dependency is asked.
"""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from fluxpay.core.payments import encode
from fluxpay.core.problems import Code, FieldError, Refused
from fluxpay.observability import errors, logs
from fluxpay.web.context import Drain
from fluxpay.web.problems import respond
from fluxpay.web.route import Route

if TYPE_CHECKING:
    from fluxpay.web.world import World

CHECKS: Final = ("database", "redis", "schema")
_LOG: Final = logs.logger("fluxpay.web")
_FRESH_S: Final = 1.0
_CHECK_TIMEOUT_S: Final = 2.0
_NONE_SERVES: Final[Mapping[str, bool]] = MappingProxyType(dict.fromkeys(CHECKS, False))


class Health:
    """Answers both probes, on both ports."""

    def __init__(self, world: "World", drain: Drain) -> None:
        self._world = world
        self._drain = drain
        self._found: Mapping[str, bool] = _NONE_SERVES
        self._fresh_until_s = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    def routes(self) -> tuple[Route, ...]:
        """Give the routes of the probes; no key is asked for."""
        return (
            Route("GET", "/health/live", self.live, summary="Whether the process is alive"),
            Route("GET", "/health/ready", self.ready, summary="Whether it takes requests"),
        )

    async def live(self, _: web.Request) -> web.Response:
        """Answer as long as the loop turns."""
        return web.Response(body=b'{"status":"ok"}', content_type="application/json")

    async def ready(self, request: web.Request) -> web.Response:
        """Tell what serves; `?require=database,schema` narrows what counts."""
        told = request.query.getall("require", ())
        required = tuple(",".join(told).split(",")) if told else CHECKS
        unknown = next((name for name in required if name not in CHECKS), None)
        if unknown is not None:
            return respond(_no_such_check(unknown), request)
        checks = await self._checks()
        status = "ok" if all(checks[name] for name in required) else "unavailable"
        if self._drain.has_begun:
            status = "draining"
        shown = {name: "ok" if checks[name] else "unavailable" for name in CHECKS}
        return web.Response(
            status=200 if status == "ok" else 503,
            body=encode({"status": status, "checks": shown}),
            content_type="application/json",
            headers=None if status == "ok" else {hdrs.RETRY_AFTER: "1"},
        )

    async def _checks(self) -> Mapping[str, bool]:
        """Give what was found in the last second, or ask; whoever comes meanwhile joins."""
        if asyncio.get_running_loop().time() >= self._fresh_until_s:
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask())
            # Shielded: one probe that gives up must not take the answer from the others.
            await asyncio.shield(self._asking)
        return self._found

    async def _ask(self) -> None:
        try:
            found = await self._world.check(timeout_s=_CHECK_TIMEOUT_S)
            self._found = {name: found.get(name, False) for name in CHECKS}
        except Exception as error:  # noqa: BLE001 - what cannot be asked does not serve
            _LOG.warning("dependencies_unanswered", error=errors.told(error))
            self._found = _NONE_SERVES
        finally:
            self._fresh_until_s = asyncio.get_running_loop().time() + _FRESH_S
            self._asking = None


def _no_such_check(name: str) -> Refused:
    known = ", ".join(CHECKS)
    return Refused(
        Code.INVALID_PARAMETER,
        "There is no such check.",
        errors=(FieldError("#/require", f"{name[:40]!r} is none of {known}."),),
    )
