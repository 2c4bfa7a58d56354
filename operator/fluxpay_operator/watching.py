"""Watch tenants and Secrets, by kopf: connections, lists, bookmarks, expired versions.

Knows kopf and how to keep it from writing: only its raw events are used, so no annotation, no
finalizer and no progress of its own ends up on a resource. What an event means is decided
elsewhere. Source: kopf 1.45, "Event-watching handlers" and "Custom HTTP sessions".
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import kopf

from fluxpay_operator.bindings import MANAGED_BY, OPERATOR
from fluxpay_operator.spec import GROUP, PLURAL, VERSION

if TYPE_CHECKING:
    from kubernetes.aio.client.configuration import Configuration

    from fluxpay_operator.sights import Sights

# An idle stream is begun anew where it left off: a dead one is noticed by that.
_SILENCE_S_MAX: Final = 40.0
_REQUEST_TIMEOUT_S: Final = 15.0
_CONNECT_TIMEOUT_S: Final = 5.0
_RETRY_S_MAX: Final = 10.0
_SECRETS: Final = "secrets"


class Hearing:
    """When each watch was last heard of: an event, or an answer to a new request.

    Args:
        monotonic_s: A clock that is never set.
    """

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._heard_s = dict.fromkeys((PLURAL, _SECRETS), monotonic_s())

    def heard(self, plural: str) -> None:
        """Something came."""
        if plural in self._heard_s:
            self._heard_s[plural] = self._monotonic_s()

    def heard_all(self) -> None:
        """Begin to count silence anew."""
        for plural in self._heard_s:
            self.heard(plural)

    @property
    def silence_s(self) -> float:
        """How long the watch that is quiet for longest has been so."""
        return self._monotonic_s() - min(self._heard_s.values())


class _Pauses:
    """Pauses between attempts to reach the API server: growing, jittered, without an end.

    An end would be the end of the process, and an API server may be away for an hour.
    """

    def __iter__(self) -> Iterator[float]:
        whole_s = 0.5
        while True:
            yield whole_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreading wants no secrecy
            whole_s = min(_RETRY_S_MAX, whole_s * 2)


def kopf_settings() -> kopf.OperatorSettings:
    """Make the settings under which kopf reads and never writes."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.process.ultimate_exiting_timeout = None
    settings.networking.request_timeout = _REQUEST_TIMEOUT_S
    settings.networking.connect_timeout = _CONNECT_TIMEOUT_S
    settings.networking.error_backoffs = _Pauses()
    settings.watching.inactivity_timeout = _SILENCE_S_MAX
    settings.watching.label_selectors[_SECRETS] = f"{MANAGED_BY}={OPERATOR}"
    return settings


def kopf_registry(
    sights: Sights, hearing: Hearing, configuration: Configuration
) -> kopf.OperatorRegistry:
    """Make the handlers: who we are, and what we want to see."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(
            server=configuration.host, aiohttp_session=_session(configuration, hearing)
        )

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def tenant(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's
        hearing.heard(PLURAL)
        sights.tenant(type, body)

    @kopf.on.event("v1", _SECRETS, registry=registry)
    async def secret(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's
        hearing.heard(_SECRETS)
        sights.secret(type, body)

    return registry


def _session(configuration: Configuration, hearing: Hearing) -> aiohttp.ClientSession:
    """Make a session with the client's own credentials, as they are at each request."""

    async def authorize(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        token = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            request.headers["Authorization"] = token
        return await handler(request)

    async def answered(
        _session: aiohttp.ClientSession, _context: object, end: aiohttp.TraceRequestEndParams
    ) -> None:
        if "watch" in end.url.query:
            hearing.heard(end.url.name)

    tracing = aiohttp.TraceConfig()
    tracing.on_request_end.append(answered)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=_tls(configuration)),
        middlewares=(authorize,),
        trace_configs=[tracing],
    )


def _tls(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(
        cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data
    )
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def watch(
    registry: kopf.OperatorRegistry, *, namespaces: tuple[str, ...], stop: asyncio.Event
) -> asyncio.Task[None]:
    """Begin to watch; the task ends after `stop`, or by what cannot be borne.

    Args:
        namespaces: Where; none means everywhere.
    """
    before = set(asyncio.all_tasks())
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=kopf_settings(),
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stop,
    )
    return asyncio.create_task(kopf.run_tasks(tasks, ignored=before), name="watching")
