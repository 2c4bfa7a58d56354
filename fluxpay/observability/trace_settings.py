"""The standard variables of OpenTelemetry that say which spans go where, read and checked at once.

Knows their names, defaults and units as the SDK has them; where the SDK would log a warning and
go on with something else, this refuses, in one line that names the variable. No error line and no
repr holds a header. An empty variable counts as unset.

Must not know the SDK: whoever only checks the settings should not pay for importing it.
Source: OpenTelemetry specification, "Environment Variable Specification" and "OTLP Exporter".
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from fluxpay.variables import SWITCHES, BadSetting

SAMPLERS: Final = (
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
    "always_on",
    "always_off",
    "traceidratio",
)
COMPRESSIONS: Final = ("none", "gzip", "deflate")

_OTLP: Final = "OTEL_EXPORTER_OTLP_"
_QUEUE_MAX: Final = 1_000_000
_MINUTE_MS: Final = 60_000
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PAIR: Final = re.compile(r"[^=,\s]+=[^,]*")


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """Where spans go, and how many.

    Args:
        endpoint: The URL that takes them, its path included.
        service: The name under which they are found.
        sampler: One of SAMPLERS.
        ratio: The share of traces that a ratio sampler takes.
        timeout_s: How long one export may take, its retries included.
        queue_max: How many spans may wait; what comes when it is full is dropped.
        batch_max: How many travel together.
        delay_ms: How long a span waits for others at most.
    """

    endpoint: str = field(repr=False)
    service: str
    sampler: str = SAMPLERS[0]
    ratio: float = 1.0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    attributes: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 10.0
    compression: str = COMPRESSIONS[0]
    certificate_file: str | None = None
    client_certificate_file: str | None = None
    client_key_file: str | None = None
    queue_max: int = 2048
    batch_max: int = 512
    delay_ms: int = 5000

    @property
    def place(self) -> str:
        """The endpoint as a log line may show it: neither credentials nor path nor query."""
        url = urlsplit(self.endpoint)
        return f"{url.scheme}://{url.netloc.rpartition('@')[2]}"

    @staticmethod
    def from_environment(environ: Mapping[str, str], *, service: str) -> "TraceSettings | None":
        """Read and check every variable; None means that no spans are wanted.

        Args:
            service: What the process is called unless the environment has a name for it.

        Raises: BadSetting for the first one that is wrong, even where no spans are wanted.
        """
        read = _Reader(environ)
        is_disabled = read.switch("OTEL_SDK_DISABLED")
        exporter = read.choice("OTEL_TRACES_EXPORTER", ("otlp", "none"))
        read.otlp_choice("PROTOCOL", ("http/protobuf",))
        sampler = read.choice("OTEL_TRACES_SAMPLER", SAMPLERS)
        attributes = read.pairs("OTEL_RESOURCE_ATTRIBUTES")
        batch_max = read.whole("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, at_most=_QUEUE_MAX)
        queue_max = read.whole("OTEL_BSP_MAX_QUEUE_SIZE", 2048, at_most=_QUEUE_MAX)
        if batch_max > queue_max:
            raise BadSetting(
                "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
                f"is {batch_max}, more than the {queue_max} that may wait; write no more than that",
            )
        # The SDK reads it and makes nothing of it; a value that is none is a slip all the same.
        read.whole("OTEL_BSP_EXPORT_TIMEOUT", 30_000, at_most=10 * _MINUTE_MS)
        settings = TraceSettings(
            endpoint=read.endpoint(),
            service=read.text("OTEL_SERVICE_NAME") or attributes.get("service.name") or service,
            sampler=sampler,
            ratio=read.ratio("OTEL_TRACES_SAMPLER_ARG") if sampler.endswith("ratio") else 1.0,
            headers=read.headers(),
            attributes=attributes,
            timeout_s=read.timeout_s(),
            compression=read.otlp_choice("COMPRESSION", COMPRESSIONS),
            certificate_file=read.file("CERTIFICATE"),
            client_certificate_file=read.file("CLIENT_CERTIFICATE"),
            client_key_file=read.file("CLIENT_KEY"),
            queue_max=queue_max,
            batch_max=batch_max,
            delay_ms=read.whole("OTEL_BSP_SCHEDULE_DELAY", 5000, at_most=_MINUTE_MS),
        )
        return None if is_disabled or exporter == "none" or not settings.endpoint else settings


@dataclass(frozen=True, slots=True)
class _Reader:
    environ: Mapping[str, str]

    def text(self, name: str) -> str:
        return self.environ.get(name, "").strip()

    def otlp(self, name: str) -> tuple[str, str]:
        """Give the variable for traces, or else the one for all signals: its name and its text."""
        for full in (f"{_OTLP}TRACES_{name}", f"{_OTLP}{name}"):
            if text := self.text(full):
                return full, text
        return f"{_OTLP}{name}", ""

    def switch(self, name: str) -> bool:
        text = self.text(name) or "false"
        if text.lower() not in SWITCHES:
            raise BadSetting(name, f"is {text[:40]!r}; write true or false")
        return SWITCHES[text.lower()]

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        return _one_of(choices, name, self.text(name))

    def otlp_choice(self, name: str, choices: tuple[str, ...]) -> str:
        return _one_of(choices, *self.otlp(name))

    def whole(self, name: str, default: int, *, at_most: int) -> int:
        text = self.text(name)
        if not text:
            return default
        if re.fullmatch(r"[0-9]{1,10}", text) and 1 <= int(text) <= at_most:
            return int(text)
        raise BadSetting(name, f"is {text[:40]!r}; write a whole number from 1 to {at_most}")

    def ratio(self, name: str) -> float:
        text = self.text(name)
        if not text:
            return 1.0
        ratio = _number(text)
        if not 0 <= ratio <= 1:
            raise BadSetting(name, f"is {text[:40]!r}; write a share from 0 to 1, such as 0.01")
        return ratio

    def timeout_s(self) -> float:
        name, text = self.otlp("TIMEOUT")
        seconds = _number(text) if text else 10.0
        # The specification counts in milliseconds, the SDK for Python in seconds.
        if not 0 < seconds <= 300:  # noqa: PLR2004 - five minutes
            raise BadSetting(name, f"is {text[:40]!r}; write seconds, from 0.1 to 300")
        return seconds

    def endpoint(self) -> str:
        name, text = self.otlp("ENDPOINT")
        if not text:
            return ""
        try:
            url = urlsplit(text)
            is_url = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
        except ValueError:
            is_url = False
        if not is_url or re.search(r"[^!-~]", text):
            # Not quoted: somebody may have written a password into it.
            raise BadSetting(name, "is no address; write http:// or https://, a host and a port")
        return text if "TRACES" in name else f"{text.rstrip('/')}/v1/traces"

    def headers(self) -> dict[str, str]:
        name, text = self.otlp("HEADERS")
        pairs = _pairs(name, text)
        if not all(_HEADER.fullmatch(header) for header in pairs):
            raise BadSetting(name, "holds a name that no header can have; write name=value,…")
        if not all(value.isprintable() for value in pairs.values()):
            raise BadSetting(name, "holds a control character; take it out")
        return pairs

    def pairs(self, name: str) -> dict[str, str]:
        return _pairs(name, self.text(name))

    def file(self, name: str) -> str | None:
        full, path = self.otlp(name)
        if not path:
            return None
        try:
            Path(path).open("rb").close()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "the name holds a NUL"
            raise BadSetting(
                full, f"names {path!r}: {reason}; name a file this process can read"
            ) from None
        return path


def _one_of(choices: tuple[str, ...], name: str, text: str) -> str:
    chosen = text.lower() or choices[0]
    if chosen not in choices:
        raise BadSetting(name, f"is {text[:40]!r}; write {' or '.join(choices)}")
    return chosen


def _number(text: str) -> float:
    return float(text) if re.fullmatch(r"[0-9]{0,9}\.?[0-9]{1,17}", text) else math.nan


def _pairs(name: str, text: str) -> dict[str, str]:
    """Read name=value pairs; neither half is quoted in an error, since either may be a secret."""
    pairs: dict[str, str] = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        if _PAIR.fullmatch(part) is None:
            raise BadSetting(name, "holds a part that is no pair; write name=value,name=value")
        key, _, value = part.partition("=")
        pairs[unquote(key.strip())] = unquote(value.strip())
    return pairs
