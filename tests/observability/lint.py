"""What is wrong with a dashboard, in sentences; nothing if nothing is.

Knows Grafana's JSON and our rules for it. Must not know any one dashboard.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from itertools import combinations
from typing import Any, Final

from tests.observability.promql import (
    RATE_INTERVAL,
    Selector,
    labels_kept,
    parsed,
    quantiles_without_le,
    selectors,
)

Document = Mapping[str, Any]

VARIABLES: Final = ("datasource", "namespace", "job")
SOURCE: Final = "${datasource}"
RATES: Final = frozenset({"rate", "irate", "increase"})
COLUMNS: Final = 24
# What Prometheus makes itself.
ITS_OWN: Final = frozenset({"ALERTS", "up"})
_COUNTS: Final = re.compile(r".*_(total|count|sum|bucket)")
_IN_LEGEND: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def findings(document: Document, known: AbstractSet[str]) -> list[str]:
    """All that is wrong. Args: known: the names of the series that there are."""
    found = [
        *_wrong_variables(document),
        *_overlaps(document),
        *(f"two panels are called {title}" for title in _repeated(document)),
    ]
    for panel in panels(document):
        label = panel.get("title") or f"panel {panel['id']}"
        found += [f"{label}: {one}" for one in _wrong_panel(panel)]
        for target in panel.get("targets", ()):
            found += [f"{label}: {one}" for one in _wrong_query(target, known)]
    return found


def panels(document: Document) -> list[dict[str, Any]]:
    """The panels that show something."""
    return [panel for panel in document["panels"] if panel["type"] != "row"]


def _wrong_variables(document: Document) -> Iterator[str]:
    there = [one["name"] for one in document["templating"]["list"]]
    yield from (f"there is no variable {name}" for name in VARIABLES if name not in there)


def _repeated(document: Document) -> set[str]:
    titles = [panel.get("title", "") for panel in panels(document)]
    return {title for title in titles if title and titles.count(title) > 1}


def _overlaps(document: Document) -> Iterator[str]:
    for panel in document["panels"]:
        place = panel["gridPos"]
        if place["x"] + place["w"] > COLUMNS:
            yield f"{panel.get('title')} leaves the page"
    for one, other in combinations(document["panels"], 2):
        here, there = one["gridPos"], other["gridPos"]
        is_beside = all(
            here[at] < there[at] + there[size] and there[at] < here[at] + here[size]
            for at, size in (("x", "w"), ("y", "h"))
        )
        if is_beside:
            yield f"{one.get('title')} and {other.get('title')} overlap"


def _wrong_panel(panel: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"no {field}" for field in ("title", "description") if not panel.get(field))
    if not panel.get("fieldConfig", {}).get("defaults", {}).get("unit"):
        yield "no unit"
    if not panel.get("targets"):
        yield "no query"
    places = [panel, *panel.get("targets", ())]
    if any(place.get("datasource", {}).get("uid") != SOURCE for place in places):
        yield "a datasource of its own"


def _wrong_query(target: Mapping[str, Any], known: AbstractSet[str]) -> Iterator[str]:
    expr = target["expr"]
    try:
        tree = parsed(expr)
    except ValueError as error:
        yield f"no PromQL: {error}"
        return
    for selector in selectors(expr):
        yield from (told.format(selector=selector) for told in _wrong_selectors(selector, known))
    if quantiles_without_le(expr):
        yield "a quantile of what has lost its buckets"
    kept = labels_kept(tree)
    for label in _IN_LEGEND.findall(target.get("legendFormat", "")):
        if kept is not None and label not in kept:
            yield f"the legend says {label}, which the query does not keep"


def _wrong_selectors(selector: Selector, known: AbstractSet[str]) -> Iterator[str]:
    yield from (told for is_wrong, told in _RULES if is_wrong(selector, known))


def _is_unknown(selector: Selector, known: AbstractSet[str]) -> bool:
    is_recorded = selector.name.startswith("namespace:")
    return not is_recorded and selector.name not in known | ITS_OWN


def _is_bare_count(selector: Selector, _: AbstractSet[str]) -> bool:
    nearest = next(iter(selector.calls), "")
    return bool(_COUNTS.fullmatch(selector.name)) and nearest not in RATES


def _has_own_window(selector: Selector, _: AbstractSet[str]) -> bool:
    return selector.window not in {"", RATE_INTERVAL}


def _ignores_namespace(selector: Selector, _: AbstractSet[str]) -> bool:
    return selector.matchers.get("namespace") != "$namespace"


_RULES: Final[tuple[tuple[Callable[[Selector, AbstractSet[str]], bool], str], ...]] = (
    (_is_unknown, "nobody tells {selector.name}"),
    (_is_bare_count, "{selector.name} is a count and stands under no rate"),
    (_has_own_window, "{selector.name} has a window of its own, {selector.window}"),
    (_ignores_namespace, "{selector.name} is not of the namespace that was chosen"),
)
