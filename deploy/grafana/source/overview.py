"""The first dashboard: do payments flow, are the promises kept, what is slow, who is held back."""

from typing import Final

from deploy.grafana.source.vocabulary import (
    CREATION,
    PROBES,
    REQUESTS,
    Board,
    Colour,
    Kind,
    Panel,
    Query,
    Row,
    Step,
    by,
    heat,
    of,
    only,
    quantile,
    quantiles,
    rate,
    recorded,
    top,
)

_BUDGET: Final = (Step(0, Colour.BAD), Step(0.1, Colour.WARN), Step(0.5, Colour.GOOD))
_NONE_IS_GOOD: Final = (Step(0, Colour.GOOD), Step(1, Colour.BAD))
_BURN: Final = (Step(0, Colour.GOOD), Step(1, Colour.WARN), Step(6, Colour.BAD))
_SLOW: Final = '{ name = "POST /v1/payments" && duration > 300ms }'
_FAILED: Final = "{ span.http.response.status_code >= 500 }"


def _number(title: str, description: str, unit: str, expr: str, *steps: Step) -> Panel:
    return Panel(
        title=title,
        description=description,
        unit=unit,
        queries=(Query(expr),),
        kind=Kind.STAT,
        width=4,
        height=4,
        steps=steps or (Step(0, Colour.PLAIN),),
        decimals=None if unit in {"short", "s"} else 1,
    )


def _left(sli: str, budget: float) -> str:
    return f"1 - {by('', recorded(f'fluxpay_payment_{sli}:ratio_rate30d'), how='max')} / {budget}"


def _burning(title: str, description: str, sli: str, budget: float) -> Panel:
    return Panel(
        title=title,
        description=description,
        unit="x",
        queries=tuple(
            Query(
                f"{by('', recorded(f'fluxpay_payment_{sli}:ratio_rate{window}'), how='max')} "
                f"/ {budget}",
                window,
            )
            for window in ("5m", "1h", "6h", "1d", "3d")
        ),
        steps=_BURN,
    )


_NOW: Final = Row(
    "Do payments flow",
    (
        _number(
            "Payments",
            "New payments a second, captured or authorized. Zero by day means that nobody can pay "
            "or nobody asks: look at the traffic below.",
            "reqps",
            by("", rate("fluxpay_payments_total", 'outcome=~"captured|authorized"')),
        ),
        _number(
            "Slowest in a hundred",
            "99 % of new payments are answered within this time. The promise is 300 ms.",
            "s",
            quantile(0.99, REQUESTS, CREATION),
            Step(0, Colour.GOOD),
            Step(0.3, Colour.BAD),
        ),
        _number(
            "Failure budget left",
            "What is left of the 0.1 % of payments of 30 days that may fail with a 5xx. Below zero "
            "the promise of 99.9 % is broken.",
            "percentunit",
            _left("errors", 0.001),
            *_BUDGET,
        ),
        _number(
            "Latency budget left",
            "What is left of the 1 % of payments of 30 days that may take over 300 ms.",
            "percentunit",
            _left("slow", 0.01),
            *_BUDGET,
        ),
        _number(
            "Degraded",
            "Dependencies that some process does without at this moment. The dashboard of "
            "dependencies says which.",
            "short",
            by("", by("dependency", of("fluxpay_degraded"), how="max")),
            *_NONE_IS_GOOD,
        ),
        _number(
            "Alerts",
            "Alerts of ours that fire now. Each names its runbook.",
            "short",
            'count(ALERTS{alertname=~"FluxPay.*",alertstate="firing",namespace=~"$namespace"}) '
            "or vector(0)",
            *_NONE_IS_GOOD,
        ),
    ),
)
_PROMISES: Final = Row(
    "Are the promises kept",
    (
        _burning(
            "Failure budget, speed of burning",
            "At 1 the budget of failures is used up after 30 days, at 14.4 after two. Two windows "
            "above a line wake somebody; one alone is past or was short.",
            "errors",
            0.001,
        ),
        _burning(
            "Latency budget, speed of burning",
            "At 1 the budget of slow answers is used up after 30 days, at 14.4 after two.",
            "slow",
            0.01,
        ),
    ),
)
_TRAFFIC: Final = Row(
    "What is asked, and how it is answered",
    (
        Panel(
            title="Requests by status",
            description="All routes of both ports, without probes and scrapes.",
            unit="reqps",
            kind=Kind.AREAS,
            queries=(
                Query(
                    by("http_response_status_code", rate(f"{REQUESTS}_count", PROBES)),
                    "{{http_response_status_code}}",
                ),
            ),
        ),
        Panel(
            title="Failures by route",
            description="Answers with a 5xx. Zero is what it should be; a client repeats them.",
            unit="reqps",
            traces=_FAILED,
            queries=(
                Query(
                    by(
                        "http_route",
                        rate(f"{REQUESTS}_count", PROBES, 'http_response_status_code=~"5.."'),
                    ),
                    "{{http_route}}",
                ),
            ),
        ),
        Panel(
            title="How long a new payment takes, all of them",
            description="Each cell counts the payments a second of one duration. A second band "
            "above the first is a second kind of request: a miss, a wait, a retry. A dot is a "
            "trace.",
            unit="s",
            kind=Kind.HEATMAP,
            queries=heat(REQUESTS, CREATION),
            traces=_SLOW,
        ),
        Panel(
            title="How long a new payment takes",
            description="From the head of the request to the last byte of the answer. The line is "
            "the promise. A dot is a trace.",
            unit="s",
            queries=quantiles(REQUESTS, CREATION, has_exemplars=True),
            steps=(Step(0, Colour.GOOD), Step(0.3, Colour.BAD)),
            traces=_SLOW,
        ),
        Panel(
            title="Requests under way",
            description="Being answered at this moment, in each process. It rises when answers "
            "take longer or more is asked.",
            unit="short",
            queries=(Query(by("instance", of("http_server_active_requests")), "{{instance}}"),),
        ),
        Panel(
            title="Slowest routes",
            description="99 % of the requests of a route are answered within this time; the five "
            "slowest.",
            unit="s",
            kind=Kind.BARS,
            queries=(
                Query(
                    top(5, quantile(0.99, REQUESTS, PROBES, labels="http_route")),
                    "{{http_route}}",
                ),
            ),
        ),
    ),
)
_HELD_BACK: Final = Row(
    "Who is held back",
    (
        Panel(
            title="Throttled tenants",
            description="Requests a second over a quota, the ten tenants with most. Raise the "
            "quota, or tell the tenant.",
            unit="reqps",
            kind=Kind.BARS,
            width=8,
            queries=(
                Query(
                    top(
                        10,
                        by(
                            "tenant_id",
                            rate("fluxpay_tenant_requests_total", 'result="throttled"'),
                        ),
                    ),
                    "{{tenant_id}}",
                ),
            ),
        ),
        Panel(
            title="Throttled by route",
            description="Answers with a 429, by the route they were asked of.",
            unit="reqps",
            width=8,
            queries=(Query(only(by("route", rate("fluxpay_rate_limited_total"))), "{{route}}"),),
        ),
        Panel(
            title="Rejected as fraud",
            description="Payments that a fraud rule rejected, by rule.",
            unit="reqps",
            width=8,
            queries=(Query(by("rule", rate("fluxpay_fraud_rejections_total")), "{{rule}}"),),
        ),
    ),
)
_PROCESSES: Final = Row(
    "What runs",
    (
        Panel(
            title="Versions",
            description="Processes by kind and version. More than one version is an upgrade under "
            "way, or one that got stuck.",
            unit="short",
            kind=Kind.BARS,
            width=8,
            queries=(
                Query(
                    by("job, version", of("fluxpay_build_info"), how="count"),
                    "{{job}} {{version}}",
                ),
            ),
        ),
        Panel(
            title="Processor",
            description="Cores that each process uses. One process uses one at most: near 1, add "
            "replicas.",
            unit="short",
            width=8,
            queries=(
                Query(
                    by("job, instance", rate("process_cpu_seconds_total")),
                    "{{job}} {{instance}}",
                ),
            ),
            steps=(Step(0, Colour.GOOD), Step(0.9, Colour.WARN)),
        ),
        Panel(
            title="Memory",
            description="What each process holds in memory. It is level; a steady climb is a leak.",
            unit="bytes",
            width=8,
            queries=(
                Query(
                    by("job, instance", of("process_resident_memory_bytes")),
                    "{{job}} {{instance}}",
                ),
            ),
        ),
    ),
)

BOARD: Final = Board(
    uid="fluxpay-overview",
    title="FluxPay / Overview",
    description="Whether payments flow, who is throttled, what is slow and why.",
    rows=(_NOW, _PROMISES, _TRAFFIC, _HELD_BACK, _PROCESSES),
)
