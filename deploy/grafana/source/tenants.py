"""Tenants: who asks most, who is throttled, whom the fraud rules stop, whose requests fail.

The first 200 tenants of a process are counted by name, all others together as `_other`: an id that
is not here may be among those.
"""

from typing import Final

from deploy.grafana.source.vocabulary import (
    Board,
    Kind,
    Panel,
    Query,
    Row,
    by,
    only,
    rate,
    share,
    top,
)

_COUNTED: Final = "fluxpay_tenant_requests_total"
_SHARED: Final = "Tenants that a process has no room for are told together as `_other`."


def _top(title: str, description: str, *matchers: str, count: int = 10) -> Panel:
    ranked = by("tenant_id", rate(_COUNTED, *matchers))
    return Panel(
        title=title,
        description=f"{description} {_SHARED}",
        unit="reqps",
        kind=Kind.BARS,
        height=9,
        queries=(Query(top(count, ranked), "{{tenant_id}}"),),
    )


def _over_time(title: str, description: str, *matchers: str) -> Panel:
    ranked = by("tenant_id", rate(_COUNTED, *matchers))
    return Panel(
        title=title,
        description=f"{description} {_SHARED}",
        unit="reqps",
        height=9,
        queries=(Query(top(5, ranked), "{{tenant_id}}"),),
    )


_TALKERS: Final = Row(
    "Who asks most",
    (
        _top("Top talkers", "Requests a second, whatever came of them; the ten with most."),
        _over_time("Top talkers over time", "The five with most requests at each moment."),
        Panel(
            title="Requests by result",
            description="Of all tenants. `refused` is a 4xx of its own making, `failed` a 5xx of "
            "ours.",
            unit="reqps",
            kind=Kind.AREAS,
            queries=(Query(by("result", rate(_COUNTED)), "{{result}}"),),
        ),
        Panel(
            title="Tenants told by name",
            description="Tenants that have a count of their own now. At 200 a process, the others "
            "are told together.",
            unit="short",
            queries=(
                Query(
                    by("instance", by("instance, tenant_id", rate(_COUNTED)), how="count"),
                    "{{instance}}",
                ),
            ),
        ),
    ),
)
_THROTTLED: Final = Row(
    "Who is throttled",
    (
        _top(
            "Throttled",
            "Requests a second over a quota. Raise the quota, or tell the tenant.",
            'result="throttled"',
        ),
        _over_time(
            "Throttled over time", "The five with most at each moment.", 'result="throttled"'
        ),
        Panel(
            title="Throttled by route",
            description="Requests over a quota, by the route they were asked of.",
            unit="reqps",
            queries=(Query(only(by("route", rate("fluxpay_rate_limited_total"))), "{{route}}"),),
        ),
        Panel(
            title="Share throttled",
            description="Of all requests of tenants, the share that was over a quota.",
            unit="percentunit",
            queries=(Query(share(_COUNTED, 'result="throttled"'), "throttled"),),
        ),
    ),
)
_STOPPED: Final = Row(
    "Whom the fraud rules stop, and whose requests fail",
    (
        _top(
            "Rejected as fraud",
            "Payments a second that a fraud rule rejected. Much at once is a stolen key or a limit "
            "that is too tight: ask the tenant.",
            'result="fraud_rejected"',
        ),
        Panel(
            title="Rejected by rule",
            description="All tenants, by the rule that rejected.",
            unit="reqps",
            height=9,
            queries=(Query(by("rule", rate("fluxpay_fraud_rejections_total")), "{{rule}}"),),
        ),
        _top(
            "Refused",
            "Answers a second with another 4xx: a client that is wrong about something and says it "
            "again.",
            'result="refused"',
        ),
        _top("Failed", "Answers a second with a 5xx.", 'result="failed"'),
    ),
)

BOARD: Final = Board(
    uid="fluxpay-tenants",
    title="FluxPay / Tenants",
    description="Who asks most, who is throttled, whom the fraud rules stop.",
    rows=(_TALKERS, _THROTTLED, _STOPPED),
)
