"""Every question of dashboards, alerts and runbooks, with its variables filled in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan

from deploy.grafana.source.files import documents
from tests.observability.lint import panels
from tests.observability.prometheus import Prometheus
from tests.observability.promql import RATE_INTERVAL, labels_kept, operands, parsed
from tests.observability.rules import alerts
from tests.observability.runbooks import PAGES, told


@dataclass(frozen=True, slots=True)
class Question:
    """A query. Args: asker: who asks, such as `fluxpay-overview: Payments`."""

    asker: str
    expr: str


def questions(*, rate_interval_s: int) -> list[Question]:
    """All of them: panels and runbooks as they are, alerts without what they compare with."""
    return [*_of_dashboards(rate_interval_s), *_of_alerts(), *_of_runbooks()]


def filled(expr: str, *, rate_interval_s: int) -> str:
    """Fill in what Grafana would, with everything chosen."""
    found = expr.replace(RATE_INTERVAL, f"{rate_interval_s}s")
    return found.replace("$namespace", ".*").replace("$job", ".*")


def unanswered(
    asked: list[Question], prometheus: Prometheus, start_s: float, end_s: float
) -> list[str]:
    """Those that give no figure at any time between two instants, or part by a label in vain."""
    found = []
    for one in asked:
        answer = prometheus.over(one.expr, start_s, end_s, step_s=1)
        told = [series for series in answer if not all(isnan(value) for _, value in series.points)]
        if not told:
            found.append(f"{one.asker} has no answer: {one.expr}")
        kept = labels_kept(parsed(one.expr)) or set()
        missing = kept - {label for series in told for label in series.labels}
        found += [f"{one.asker}: nothing has the label {label}" for label in missing if told]
    return found


def _of_dashboards(rate_interval_s: int) -> Iterator[Question]:
    for text in documents().values():
        document = json.loads(text)
        for panel in panels(document):
            for target in panel["targets"]:
                expr = filled(target["expr"], rate_interval_s=rate_interval_s)
                yield Question(f"{document['uid']}: {panel['title']}", expr)


def _of_alerts() -> Iterator[Question]:
    for alert in alerts():
        for operand in operands(alert.expr):
            yield Question(alert.name, operand)


def _of_runbooks() -> Iterator[Question]:
    for page in PAGES:
        for fence in told(page):
            if fence.info == "promql":
                yield Question(page.name, fence.text.strip())
