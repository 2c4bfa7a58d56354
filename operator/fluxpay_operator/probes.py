"""What the kubelet and Prometheus ask the operator: is it alive, is it ready, what has it counted.

Alive means that the loop turns, that the watches were heard of lately and that the Lease is being
renewed or waited for: each of them can die without the process, and a new process is the cure.
Ready means alive, and that the cluster's tenants could be read. Must not know HTTP beyond three
routes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

if TYPE_CHECKING:
    from fluxpay_operator.leadership import Leadership
    from fluxpay_operator.metrics import Metrics
    from fluxpay_operator.watching import Hearing

WATCH_SILENCE_S_MAX: Final = 180.0
LEASE_SILENCE_S_MAX: Final = 60.0
_OK: Final = 200
_UNAVAILABLE: Final = 503


@dataclass(slots=True)
class Vitals:
    """What tells whether the operator is well.

    Args:
        has_started: Set once tenants could be read and the watches are under way.
        monotonic_s: A clock that is never set.
    """

    hearing: Hearing
    leadership: Leadership
    monotonic_s: Callable[[], float]
    has_started: bool = False

    def checks(self) -> dict[str, str]:
        """What is well and what is not."""
        lease_s = self.monotonic_s() - self.leadership.tried_s
        return {
            "watch": _verdict(self.hearing.silence_s, at_most=WATCH_SILENCE_S_MAX),
            "lease": _verdict(lease_s, at_most=LEASE_SILENCE_S_MAX),
        }


async def serve(
    vitals: Vitals, metrics: Metrics, *, host: str, port: int
) -> tuple[web.AppRunner, int]:
    """Begin to answer; gives what to clean up, and the port."""

    async def live(_: web.Request) -> web.Response:
        checks = vitals.checks()
        return _answer(checks, {})

    async def ready(_: web.Request) -> web.Response:
        started = {"start": "ok" if vitals.has_started else "down"}
        role = "leader" if vitals.leadership.is_leader else "standby"
        return _answer({**vitals.checks(), **started}, {"role": role})

    async def exposition(request: web.Request) -> web.Response:
        body, content_type = metrics.exposition(request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})

    app = web.Application()
    app.router.add_get("/health/live", live)
    app.router.add_get("/health/ready", ready)
    app.router.add_get("/metrics", exposition)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner, runner.addresses[0][1]


def _verdict(silence_s: float, *, at_most: float) -> str:
    return "ok" if silence_s <= at_most else "down"


def _answer(checks: dict[str, str], more: dict[str, str]) -> web.Response:
    is_well = all(check == "ok" for check in checks.values())
    document = {"status": "ok" if is_well else "down", "checks": checks, **more}
    return web.Response(
        text=json.dumps(document),
        status=_OK if is_well else _UNAVAILABLE,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
