"""Asking a process on this machine whether it is ready, as a container's check does.

Knows: where `fluxpay serve` or `fluxpay worker` listens under the same environment, and the
readiness probe that balancers ask too. Of the service's, Redis is left out: losing it degrades the
service and must not stop it.
Must not know: how readiness is found out. It opens one connection, to this machine, and sends no
secret: so it takes any certificate, which was made out to another name than this address.
"""

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fluxpay.variables import PORT_MAX, PREFIX, BadSetting, Variables

TIMEOUT_S: Final = 4.0
_ANSWER_BYTES_MAX: Final = 4_096
# A listener on every address is reached at this machine's own.
_OWN_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - it is asked, not bound


class NotReady(Exception):
    """The process is not ready; the text is one line that says why."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Where a process answers probes."""

    host: str
    port: int
    path: str
    has_tls: bool

    @staticmethod
    def of_service(environ: Mapping[str, str]) -> "Listener":
        """Read what `fluxpay serve` was told.

        Raises: BadSetting for a value that leads nowhere.
        """
        has_tls = Variables(environ).value("TLS_CERT_FILE") is not None
        path = "/health/ready?require=database,schema"
        return Listener(*_place(environ, "", 8080), path, has_tls)

    @staticmethod
    def of_worker(environ: Mapping[str, str]) -> "Listener":
        """Read what `fluxpay worker` was told.

        Raises: BadSetting for a value that leads nowhere.
        """
        return Listener(*_place(environ, "WORKER_", 8083), "/health/ready", has_tls=False)

    @property
    def url(self) -> str:
        """Give the address, to show it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.has_tls else 'http'}://{host}:{self.port}"


def ask(listener: Listener) -> None:
    """Return if the process is ready.

    Raises: NotReady when it says that it is not, or does not answer.
    """
    connection = _connection(listener)
    try:
        connection.request("GET", listener.path)
        answer = connection.getresponse()
        text = answer.read(_ANSWER_BYTES_MAX)
    except (OSError, http.client.HTTPException) as error:
        raise NotReady(f"{listener.url} does not answer ({type(error).__name__})") from None
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise NotReady(f"{listener.url} is {_reason(text)}")


def _place(environ: Mapping[str, str], prefix: str, usual_port: int) -> tuple[str, int]:
    variables, name = Variables(environ), f"{prefix}PORT"
    host = variables.text(f"{prefix}HOST", "127.0.0.1")
    port = variables.number(name, usual_port, at_most=PORT_MAX, at_least=0)
    if port == 0:
        raise BadSetting(PREFIX + name, "is 0, so nobody knows the port; set a fixed one")
    return _OWN_ADDRESS.get(host, host), port


def _connection(listener: Listener) -> http.client.HTTPConnection:
    if not listener.has_tls:
        return http.client.HTTPConnection(listener.host, listener.port, timeout=TIMEOUT_S)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(
        listener.host, listener.port, timeout=TIMEOUT_S, context=context
    )


def _reason(text: bytes) -> str:
    try:
        answer = json.loads(text)
        failing = [name for name, found in answer["checks"].items() if found != "ok"]
        return f"{answer['status']}" + (f": {', '.join(failing)}" if failing else "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return "no FluxPay"
