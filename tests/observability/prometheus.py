"""A real Prometheus on loopback: it scrapes, evaluates our rules and answers.

Knows its configuration, its command line and its HTTP API. Must not know what it scrapes.
"""

from __future__ import annotations

import json
import signal
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from fluxpay.embedded import process
from fluxpay.embedded.process import Launch
from tests.observability.rules import FILE
from tests.ports import free_port
from tests.toolbox.debian import unpacked

NAMESPACE: Final = "pay"
_STOP: Final = ((signal.SIGTERM, 20.0), (signal.SIGKILL, 5.0))


class Refused(Exception):
    """Prometheus refused a question; the text is its own."""


@dataclass(frozen=True, slots=True)
class Series:
    """Values over time. Args: points: seconds since 1970, and the value."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One request among those that were counted."""

    at_s: float
    value: float
    trace_id: str


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running server."""

    url: str

    def over(self, expr: str, start_s: float, end_s: float, *, step_s: float) -> list[Series]:
        """Ask for the values between two instants.

        Raises: Refused.
        """
        answer = self._ask("query_range", query=expr, start=start_s, end=end_s, step=step_s)
        return [
            Series(one["metric"], tuple((at_s, float(value)) for at_s, value in one["values"]))
            for one in answer["result"]
        ]

    def exemplars(self, expr: str, start_s: float, end_s: float) -> list[Exemplar]:
        """What is kept as examples of what was measured."""
        answer = self._ask("query_exemplars", query=expr, start=start_s, end=end_s)
        return [
            Exemplar(float(one["timestamp"]), float(one["value"]), one["labels"]["trace_id"])
            for found in answer
            for one in found["exemplars"]
        ]

    def names(self) -> set[str]:
        """The names of all series that were scraped or recorded."""
        return set(self._ask("label/__name__/values"))

    def ills(self) -> list[str]:
        """What could not be scraped or evaluated."""
        targets = [
            f"{one['scrapeUrl']}: {one['lastError']}"
            for one in self._ask("targets")["activeTargets"]
            if one["health"] != "up"
        ]
        rules = [
            f"{rule['name']}: {rule.get('lastError', rule['health'])}"
            for group in self._ask("rules")["groups"]
            for rule in group["rules"]
            if rule["health"] != "ok"
        ]
        return [*targets, *rules]

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2):  # noqa: S310 - our own
                return True
        except (urllib.error.URLError, OSError):
            return False

    def _ask(self, what: str, **parameters: Any) -> Any:
        query = urllib.parse.urlencode(parameters)
        url = f"{self.url}/api/v1/{what}?{query}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - our own
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise Refused(f"{parameters}: {json.load(error).get('error')}") from error


@contextmanager
def scraping(folder: Path, targets: Mapping[str, str], *, every_s: int = 1) -> Iterator[Prometheus]:
    """A Prometheus for the length of a block, with our rules.

    Args:
        targets: `host:port` by job.
    """
    folder.mkdir(mode=0o700)
    configuration = folder / "prometheus.yml"
    configuration.write_text(json.dumps(_configuration(targets, every_s)), "utf-8")
    address = f"127.0.0.1:{free_port()}"
    launch = Launch(
        command=[
            str(unpacked("prometheus")),
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            "--enable-feature=exemplar-storage",
        ],
        directory=folder,
        log=folder / "prometheus.log",
        death_signal="KILL",
    )
    running = process.start(launch)
    try:
        asked = Prometheus(f"http://{address}")
        process.await_ready(running, launch, asked.is_ready)
        yield asked
    finally:
        process.stop(running, _STOP)


def _configuration(targets: Mapping[str, str], every_s: int) -> dict[str, Any]:
    return {
        "global": {
            "scrape_interval": f"{every_s}s",
            "scrape_timeout": f"{every_s}s",
            "evaluation_interval": f"{every_s}s",
        },
        "rule_files": [str(FILE)],
        "scrape_configs": [
            {
                "job_name": job,
                "static_configs": [{"targets": [target], "labels": {"namespace": NAMESPACE}}],
            }
            for job, target in targets.items()
        ],
    }


def shipped_jobs() -> dict[str, Any]:
    """The jobs of the configuration that ships for Compose, by name."""
    path = FILE.parents[4] / "deploy/prometheus/prometheus.yml"
    shipped = yaml.safe_load(path.read_text("utf-8"))
    return {one["job_name"]: one for one in shipped["scrape_configs"]}
