"""What a Prometheus saw of a stretch of traffic, and what it could not answer.

    make watch [ARGS="--seconds 300"]

plays five minutes, asks every question of every dashboard and alert, and draws the dashboards of
the documentation from what was seen. The test plays a shorter stretch and asks the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from deploy.grafana.source.files import documents
from tests.observability.drawing import draw
from tests.observability.panel_data import Span
from tests.observability.plots import Happening
from tests.observability.prometheus import Prometheus, scraping
from tests.observability.questions import questions, unanswered
from tests.observability.script import Tell, play
from tests.observability.stage import bring_tenants, staged
from tests.observability.traffic import Town
from tests.toolbox.debian import unpacked

SCRAPE_S: Final = 1
# Grafana would fill in four times the interval of the scrapes, or more.
RATE_INTERVAL_S: Final = 5
# The last of what was done is scraped, and the last of that is recorded.
SETTLE_S: Final = 3 * SCRAPE_S


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch that was played, and the Prometheus that watched it.

    Args:
        start_s: When it began, in Unix time.
        happened: What was broken, and when.
        pages: What `promtool check metrics` has against the page of each job.
        answers: What clients got, by status; 0 for none.
    """

    prometheus: Prometheus
    start_s: float
    end_s: float
    happened: tuple[Happening, ...]
    pages: dict[str, str]
    answers: Counter[int]

    def pictures(self) -> dict[str, str]:
        """The dashboards as they looked when the last payment was made, by the name of the file."""
        span = Span(self.start_s, self.end_s - SETTLE_S - 1)
        return {
            f"{Path(name).stem}.svg": draw(
                json.loads(text),
                self.prometheus,
                span,
                every_s=RATE_INTERVAL_S,
                meanwhile=self.happened,
            )
            for name, text in documents().items()
        }

    def unanswered(self) -> list[str]:
        """The questions of dashboards and alerts that have no answer."""
        asked = questions(rate_interval_s=RATE_INTERVAL_S)
        return unanswered(asked, self.prometheus, self.start_s, self.end_s)


@asynccontextmanager
async def played(folder: Path, *, seconds: float, tell: Tell) -> AsyncIterator[Stretch]:
    """Play a stretch; Prometheus answers for the length of the block."""
    tell("starting Postgres, Valkey, a Kubernetes API, the service, a worker and the operator")
    async with staged(folder) as stage, aiohttp.ClientSession() as session:
        with scraping(folder / "prometheus", stage.targets, every_s=SCRAPE_S) as prometheus:
            town = await Town.settled(stage.service, session)
            await bring_tenants(stage)
            tell(f"playing {seconds:.0f} seconds of traffic")
            start_s = time.time()
            happened = await play(stage, town, seconds=seconds, tell=tell)
            await asyncio.sleep(SETTLE_S)
            pages = {
                job: await asyncio.to_thread(_checked, f"http://{target}/metrics")
                for job, target in stage.targets.items()
            }
            yield Stretch(prometheus, start_s, time.time(), tuple(happened), pages, town.answers)


def _checked(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - a page of our own
            page: bytes = answer.read()
    except urllib.error.URLError as error:
        return f"{url}: {error.reason}"
    done = subprocess.run(
        [unpacked("promtool"), "check", "metrics"], input=page, capture_output=True, check=False
    )
    return (done.stdout + done.stderr).decode()


async def _watch(seconds: float, pictures: Path | None) -> list[str]:
    def tell(text: str) -> None:
        sys.stderr.write(f"watch: {text}\n")

    with tempfile.TemporaryDirectory(prefix="fluxpay-watch-") as name:
        async with played(Path(name), seconds=seconds, tell=tell) as stretch:
            tell(f"answers by status: {dict(sorted(stretch.answers.items()))}")
            wrong = [f"{job}: {told}" for job, told in stretch.pages.items() if told]
            wrong += await asyncio.to_thread(stretch.prometheus.ills)
            wrong += await asyncio.to_thread(stretch.unanswered)
            if pictures is not None:
                tell(f"drawing into {pictures}")
                for file, drawn in (await asyncio.to_thread(stretch.pictures)).items():
                    (pictures / file).write_text(drawn, "utf-8")
    return wrong


def main() -> int:
    """Play, ask, tell what has no answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--pictures", type=Path, help="the folder to draw the dashboards into")
    told = parser.parse_args()
    wrong = asyncio.run(_watch(told.seconds, told.pictures))
    sys.stdout.write("".join(f"{one}\n" for one in wrong) or "watch: every question was answered\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
