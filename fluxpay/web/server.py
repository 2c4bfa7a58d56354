"""The service as a process: start, run until told to stop, drain, end.

The order matters both ways. Whatever can be wrong with the configuration is found before the
first connection is accepted; on the way out readiness falls first, the API port drains while the
admin port still answers probes, and the commit queue is emptied last.

Must not know what the routes do.
"""

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from fluxpay.observability import logs
from fluxpay.observability.spans import recording
from fluxpay.observability.trace_settings import TraceSettings
from fluxpay.settings import Settings
from fluxpay.termination import termination
from fluxpay.web.app import Parts, build_admin, build_api
from fluxpay.web.commits import Commits
from fluxpay.web.context import Drain
from fluxpay.web.health import Health
from fluxpay.web.listener import Address, Listener, bind, release, url_of
from fluxpay.web.protocol import Terms
from fluxpay.web.request_lines import RequestLines
from fluxpay.web.route import Route
from fluxpay.web.routes import ADMIN_ROUTES, API_ROUTES
from fluxpay.web.rules import load_rules
from fluxpay.web.telemetry import PROCESS
from fluxpay.web.world import Told, World

_LOG: Final = logs.logger("fluxpay.web")
_ADMIN_DRAIN_S: Final = 1
_GC_THRESHOLDS: Final = (50_000, 20, 50)


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a running service is reached."""

    api_url: str
    admin_url: str


async def run(
    settings: Settings,
    *,
    traces: TraceSettings | None = None,
    on_ready: Callable[[Listening], None],
) -> None:
    """Serve until SIGTERM or SIGINT; a second signal ends the process at once.

    Several processes may listen on the API port and share its load.

    Args:
        settings: What it was told from outside.
        traces: Where spans go; None keeps none.
        on_ready: Called once, when both ports answer.

    Raises:
        BadSetting: A fraud rule cannot be used.
        OSError: A port is taken, or the TLS files are not a certificate and its key.
        StoreUnavailable: The database cannot be reached.
        SchemaBehind: `fluxpay migrate` has to run first.
    """
    with termination() as stop:
        await serve(settings, stop=stop, traces=traces, on_ready=on_ready, share_port=True)


async def serve(
    settings: Settings,
    *,
    stop: asyncio.Event,
    traces: TraceSettings | None = None,
    on_ready: Callable[[Listening], None],
    share_port: bool,
) -> None:
    """Serve until `stop` is set, inside a process that has its own idea of signals.

    Args:
        share_port: Whether several processes may listen on the API port.

    Raises: As `run`.
    """
    logs.set_up(settings.log_level, settings.log_format)
    async with running(settings, traces=traces, share_port=share_port) as listening:
        _spare_the_collector()
        on_ready(listening)
        await stop.wait()
        _LOG.info("draining", at_most_s=settings.shutdown_timeout_s)
    _LOG.info("stopped")


@asynccontextmanager
async def running(
    settings: Settings,
    *,
    traces: TraceSettings | None = None,
    share_port: bool = False,
    api_routes: tuple[Route, ...] = API_ROUTES,
    admin_routes: tuple[Route, ...] = ADMIN_ROUTES,
) -> AsyncIterator[Listening]:
    """Run the service for the length of a block, and drain it on the way out."""
    rules = load_rules()
    tls = _tls(settings)
    drain = Drain()
    terms = Terms(
        trusted=settings.trusted_proxies,
        patience_s=settings.request_timeout_s,
        drain=drain,
        metrics=PROCESS,
        lines=RequestLines(settings.log_requests),
    )
    async with AsyncExitStack() as stack:
        # The admin port first: it is never shared, so a second service with the same settings
        # ends here, before it could take connections from the first one.
        admin_sockets = bind(Address(settings.admin_host, settings.admin_port))
        stack.callback(release, admin_sockets)
        api_sockets = bind(Address(settings.host, settings.port, is_shared=share_port))
        stack.callback(release, api_sockets)
        # Ended last of all but the sockets: what the last commit has to tell is sent as well.
        await stack.enter_async_context(recording(traces))
        world = await World.open(
            settings,
            watch=partial(Commits, PROCESS),
            told=Told(
                degraded=_tell_of_redis,
                pipeline=PROCESS.pipeline_sent,
                key_looked_up=PROCESS.key_looked_up,
            ),
        )
        stack.push_async_callback(world.close)
        PROCESS.stores.watch(world)
        stack.callback(PROCESS.stores.forget, world)
        stack.enter_context(PROCESS.loop_lag.measured())
        parts = Parts(settings, world, rules, PROCESS, Health(world, drain))
        admin_app, api_app = build_admin(parts, admin_routes), build_api(parts, api_routes)
        admin = await Listener.start(admin_app, admin_sockets, terms=terms, tls=tls)
        stack.push_async_callback(admin.close)
        api = await Listener.start(api_app, api_sockets, terms=terms, tls=tls)
        stack.push_async_callback(api.close)
        PROCESS.measure_requests(lambda: api.answering)
        try:
            yield Listening(
                api_url=url_of(api_sockets, is_tls=tls is not None),
                admin_url=url_of(admin_sockets, is_tls=tls is not None),
            )
        finally:
            drain.has_begun = True
            await api.drain(timeout_s=settings.shutdown_timeout_s)
            await admin.drain(timeout_s=_ADMIN_DRAIN_S)


def _tell_of_redis(is_gone: bool) -> None:  # noqa: FBT001 - the breaker tells a change by itself
    if is_gone:
        _LOG.warning("redis_lost")
    else:
        _LOG.info("redis_found")


def _spare_the_collector() -> None:
    """Have cycles collected seldom: a request makes hardly any, and each look at them costs.

    What start-up made stays for good and need not be looked at again. The rest is looked through
    after as many new objects as some dozens of requests in flight have, and not a thousand times
    a second: with the thresholds of the interpreter that took a tenth of the processor.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file)
    return context
