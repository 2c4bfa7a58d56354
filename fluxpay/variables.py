"""Reading one environment variable at a time, with an error line that names it.

Knows: how a number, a switch, a network, a file and a URL are written in a variable, and that
every secret may stand in a file that `<VARIABLE>_FILE` names.
Must not know: which settings exist and what they are for. It reads no file but those that the
environment names, and no error line holds a secret.

An empty variable counts as unset, because compose files pass unset variables on as empty ones.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final

PREFIX: Final = "FLUXPAY_"
LOG_FORMATS: Final = ("json", "console")
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
SWITCHES: Final = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}
DATABASE_SCHEMES: Final = ("postgresql", "postgres")
HTTP_SCHEMES: Final = ("http", "https")
REDIS_SCHEMES: Final = ("redis", "rediss", "unix", "redis+cluster")

FILE_BYTES_MAX: Final = 1_048_576
PORT_MAX: Final = 65_535
VISIBLE: Final = re.compile(r"[!-~]+")
CONTACT: Final = re.compile(r"(mailto:|https://|tel:)[!-~]{1,200}")
LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class BadSetting(Exception):
    """One variable is missing or wrong; the text is one line that says what to do."""

    def __init__(self, variable: str, problem: str) -> None:
        super().__init__(f"{variable} {problem}")
        self.variable = variable
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Variables:
    """Reads one variable at a time; each method names it when it is wrong."""

    environ: Mapping[str, str]

    def value(self, name: str) -> str | None:
        """Give the variable without the blanks around it; None when there is nothing else."""
        return self.environ.get(PREFIX + name, "").strip() or None

    def text(self, name: str, default: str) -> str:
        """Read a host name or an address."""
        text = self.value(name) or default
        if re.search(r"[\s/]", text):
            raise BadSetting(PREFIX + name, f"is {text!r}; write a host name or an address")
        return text

    def number(self, name: str, default: int, *, at_most: int, at_least: int = 1) -> int:
        """Read a whole number between two bounds, both included."""
        text = self.value(name)
        if text is None:
            return default
        if name == "PORT" and text.startswith("tcp://"):
            raise BadSetting(
                PREFIX + "PORT",
                "was set by Kubernetes for a Service; set enableServiceLinks: false in the pod",
            )
        # Short ASCII only: int() also takes "1_000", "٣" and five thousand digits.
        if re.fullmatch(r"[0-9]{1,10}", text) and at_least <= int(text) <= at_most:
            return int(text)
        raise BadSetting(
            PREFIX + name, f"is {text[:40]!r}; write a whole number from {at_least} to {at_most}"
        )

    def switch(self, name: str) -> bool:
        """Read a yes or no; the default is no."""
        text = self.value(name) or "false"
        if text.lower() not in SWITCHES:
            raise BadSetting(PREFIX + name, f"is {text[:40]!r}; write true or false")
        return SWITCHES[text.lower()]

    def log_level(self) -> str:
        """Read the name of a log level, in any case."""
        text = self.value("LOG_LEVEL") or "INFO"
        if text.upper() not in LOG_LEVELS:
            raise BadSetting(
                PREFIX + "LOG_LEVEL", f"is {text[:40]!r}; write one of {', '.join(LOG_LEVELS)}"
            )
        return text.upper()

    def log_format(self) -> str:
        """Read how a log line is written: for machines, or for a person."""
        text = self.value("LOG_FORMAT") or "json"
        if text.lower() not in LOG_FORMATS:
            raise BadSetting(
                PREFIX + "LOG_FORMAT", f"is {text[:40]!r}; write one of {', '.join(LOG_FORMATS)}"
            )
        return text.lower()

    def ratio(self, name: str, default: float) -> float:
        """Read a share of something: a decimal number from 0 to 1, both included."""
        text = self.value(name)
        if text is None:
            return default
        # Plain decimals only: float() also takes "nan", "1e-3" and "0_1".
        if re.fullmatch(r"[0-9]{0,3}\.?[0-9]{1,18}", text) and float(text) <= 1:
            return float(text)
        raise BadSetting(PREFIX + name, f"is {text[:40]!r}; write a number from 0 to 1, as 0.01")

    def networks(self, name: str) -> tuple[IPv4Network | IPv6Network, ...]:
        """Read addresses and networks, parted by commas or blanks."""
        parts = (self.value(name) or "").replace(",", " ").split()
        networks: list[IPv4Network | IPv6Network] = []
        for part in parts:
            try:
                networks.append(ip_network(part))
            except ValueError:
                raise BadSetting(
                    PREFIX + name,
                    f"holds {part[:60]!r}; write addresses or networks such as 10.0.0.0/8",
                ) from None
        return tuple(networks)

    def labels(self, name: str, *, at_most: int = 1000) -> tuple[str, ...]:
        """Read names as Kubernetes gives them to namespaces, parted by commas or blanks."""
        parts = (self.value(name) or "").replace(",", " ").split()
        for part in parts:
            if LABEL.fullmatch(part) is None:
                raise BadSetting(
                    PREFIX + name,
                    f"holds {part[:60]!r}; write lower-case letters, digits and hyphens",
                )
        if len(parts) > at_most:
            raise BadSetting(PREFIX + name, f"holds {len(parts)} names; write {at_most}")
        return tuple(dict.fromkeys(parts))

    def contact(self, name: str) -> str | None:
        """Read where people can be reached, as a URI."""
        text = self.value(name)
        if text is not None and CONTACT.fullmatch(text) is None:
            raise BadSetting(
                PREFIX + name, f"is {text[:40]!r}; write a URI: mailto:, https:// or tel:"
            )
        return text

    def http_url(self, name: str) -> str:
        """Read the address of a service, which must be there; a path may follow the host."""
        text = self.value(name)
        if text is None:
            raise BadSetting(
                PREFIX + name, "is not set; set it to an address such as https://pay.example.com"
            )
        scheme, _, rest = text.partition("://")
        place, _, path = rest.partition("/")
        if scheme not in HTTP_SCHEMES or not place or not _is_place(place):
            # Not quoted: somebody may have written a password into it.
            raise BadSetting(
                PREFIX + name, "is no address; write http:// or https://, a host and maybe a port"
            )
        if re.search(r"[^!-~]|[?#]", path):
            raise BadSetting(PREFIX + name, "holds a blank, a query or a fragment; take it out")
        return text.rstrip("/")

    def secret(self, name: str) -> str | None:
        """Read a secret from its variable or from the file that `<VARIABLE>_FILE` names."""
        text = self.value(name)
        file_name = f"{name}_FILE"
        if self.value(file_name) is None:
            return text
        if text is not None:
            raise BadSetting(PREFIX + name, f"is set, and so is {PREFIX}{file_name}; unset one")
        # Read in one go: the file may be a pipe, which answers once.
        content = self.file_content(file_name)
        try:
            secret = content.decode().strip()
        except UnicodeDecodeError:
            secret = ""
        if not secret:
            path = self.value(file_name)
            raise BadSetting(
                PREFIX + file_name, f"names {path!r}, which holds no text; write the secret into it"
            )
        return secret

    def url(self, name: str, check: Callable[[str], str | None]) -> str | None:
        """Read a secret URL; `check` says what is wrong with it, or None."""
        url = self.secret(name)
        problem = check(url) if url is not None else None
        if problem is not None:
            raise BadSetting(PREFIX + name, problem)
        return url

    def required_url(self, name: str, check: Callable[[str], str | None]) -> str:
        """Read a secret URL that must be there."""
        url = self.url(name, check)
        if url is None:
            scheme = "redis" if name == "REDIS_URL" else "postgresql"
            raise BadSetting(
                PREFIX + name,
                f"is not set; set it to a {scheme}:// URL, or set {PREFIX}{name}_FILE",
            )
        return url

    def admin_token(self) -> tuple[str | None, Path | None]:
        """Read the admin tokens, or the path of the file that holds them."""
        tokens = self.secret("ADMIN_TOKEN")
        path = self.value("ADMIN_TOKEN_FILE")
        if tokens is not None and not all(VISIBLE.fullmatch(token) for token in tokens.split()):
            name = "ADMIN_TOKEN" if path is None else "ADMIN_TOKEN_FILE"
            raise BadSetting(
                PREFIX + name, "holds a token that is not visible ASCII; make a new one"
            )
        # The path is kept, not the text: the web shell reads the file again when it changes.
        return (tokens, None) if path is None else (None, Path(path))

    def tls_files(self) -> tuple[Path | None, Path | None]:
        """Read the paths of the certificate and its key: both or neither."""
        cert_file = self.readable_file("TLS_CERT_FILE")
        key_file = self.readable_file("TLS_KEY_FILE")
        if (cert_file is None) == (key_file is None):
            return cert_file, key_file
        missing, given = ("KEY", "CERT") if key_file is None else ("CERT", "KEY")
        raise BadSetting(
            PREFIX + f"TLS_{missing}_FILE",
            f"is not set, though FLUXPAY_TLS_{given}_FILE is; set both",
        )

    def readable_file(self, name: str) -> Path | None:
        """Read the path of a file and try to open it."""
        path = self.value(name)
        if path is None:
            return None
        self.file_content(name)
        return Path(path)

    def file_content(self, name: str) -> bytes:
        """Read what the file that the variable names holds."""
        path = self.value(name) or ""
        try:
            with Path(path).open("rb") as file:
                return file.read(FILE_BYTES_MAX)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "the name holds a NUL"
            raise BadSetting(
                PREFIX + name, f"names {path!r}: {reason}; name a file this process can read"
            ) from None


def without_password(url: str) -> str:
    """Give the URL as a log line may show it: neither the credentials nor the query."""
    scheme, separator, rest = url.partition("://")
    # The last @ counts: a password that was not percent-encoded may hold others.
    userinfo, at, place = rest.rpartition("@")
    if "?" in userinfo or "/" in userinfo:
        # The @ may stand in the query, so what follows it may be half a secret.
        return f"{scheme}{separator}***"
    shown = "***@" if at else ""
    return f"{scheme}{separator}{shown}{place.partition('?')[0]}"


def check_database_url(url: str) -> str | None:
    """Say what is wrong with a libpq URL, without quoting any of it but its scheme."""
    # An unescaped / or ? in a password moves the rest of it into another part of the URL, so no
    # part can be shown safely.
    problem = _scheme_problem(url, DATABASE_SCHEMES)
    if problem is not None:
        return problem
    places, _, _ = url.partition("://")[2].partition("?")[0].partition("/")
    hosts = places.rpartition("@")[2]
    if hosts and not all(_is_place(host) for host in hosts.split(",")):
        return (
            "holds a host or port that cannot be read; write postgresql://user:password@host:port"
            "/name and percent-encode special characters in the password"
        )
    return None


def check_redis_url(url: str) -> str | None:
    """Say what is wrong with a Redis URL, without quoting any of it but its scheme."""
    problem = _scheme_problem(url, REDIS_SCHEMES)
    if problem is not None:
        return problem
    scheme, _, rest = url.partition("://")
    place, _, path = rest.partition("?")[0].rpartition("@")[2].partition("/")
    if scheme == "unix":
        return None if path else "names no socket; write unix:///path/to/socket"
    hosts = place.split(",") if scheme == "redis+cluster" else [place]
    if not all(host and _is_place(host) for host in hosts):
        return "holds a host or port that cannot be read; write redis://:password@host:port/0"
    if path and not path.isdecimal():
        return "names a database that is no number; write redis://:password@host:port/0"
    return None


def _scheme_problem(url: str, schemes: tuple[str, ...]) -> str | None:
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        return "holds a blank or a control character; percent-encode it"
    if re.search(r"%(?![0-9A-Fa-f]{2})", url):
        return "holds a % that encodes nothing; write %25 for a percent sign"
    scheme, separator, _ = url.partition("://")
    if scheme in schemes and separator:
        return None
    wanted = " or ".join(f"{name}://" for name in schemes)
    # What stands before :// is quoted only when it can be a scheme: it might be a bare password.
    named = f" {scheme}://" if separator and re.fullmatch(r"[a-z][a-z0-9+.-]{0,20}", scheme) else ""
    return f"has no scheme known here{':' if named else ''}{named}; write {wanted}"


def _is_place(text: str) -> bool:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:/@]*)(?::([0-9]{1,5}))?", text)
    return match is not None and int(match[2] or 0) <= PORT_MAX
