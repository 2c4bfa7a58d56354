"""The operator: who acts, whose turn takes long, which tenants want a person, which keys end."""

from typing import Final

from deploy.grafana.source.vocabulary import (
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
    quantile,
    quantiles,
    rate,
)

_TURN: Final = "fluxpay_operator_reconcile_duration_seconds"
_TENANTS: Final = "fluxpay_operator_tenants"
_NONE_IS_GOOD: Final = (Step(0, Colour.GOOD), Step(1, Colour.BAD))


def _number(title: str, description: str, unit: str, expr: str, *steps: Step) -> Panel:
    return Panel(
        title=title,
        description=description,
        unit=unit,
        kind=Kind.STAT,
        width=6,
        height=4,
        queries=(Query(expr),),
        steps=steps,
    )


_NOW: Final = Row(
    "Does it work",
    (
        _number(
            "Leaders",
            "Operators that act. One is right; with none, tenants stay as they are.",
            "short",
            by("", of("fluxpay_operator_leader")),
            Step(0, Colour.BAD),
            Step(1, Colour.GOOD),
            Step(2, Colour.BAD),
        ),
        _number(
            "Last turn that ended well",
            "Since a tenant was last brought up to date. Every tenant is looked at every five "
            "minutes unless you say otherwise.",
            "s",
            f"time() - {by('', of('fluxpay_operator_last_success_timestamp_seconds'), how='max')}",
            Step(0, Colour.GOOD),
            Step(600, Colour.WARN),
            Step(900, Colour.BAD),
        ),
        _number(
            "Stalled tenants",
            "Tenants whose resource says something that cannot be done. Their conditions say what.",
            "short",
            by("", of(_TENANTS, 'condition="Stalled"', 'status="True"'), how="max")
            + " or vector(0)",
            *_NONE_IS_GOOD,
        ),
        _number(
            "Next key to end",
            "Until the first of all keys stops working. Rotation by itself comes long before.",
            "s",
            f"{by('', of('fluxpay_operator_key_expiry_timestamp_seconds'), how='min')} - time()",
            Step(0, Colour.BAD),
            Step(259_200, Colour.WARN),
            Step(604_800, Colour.GOOD),
        ),
    ),
)
_TURNS: Final = Row(
    "Turns of tenants",
    (
        Panel(
            title="Turns by result",
            description="`retried` waits for something, `refused` lacks a right in Kubernetes, "
            "`failed` is a bug with its traceback in the log.",
            unit="ops",
            kind=Kind.AREAS,
            queries=(Query(by("result", rate("fluxpay_operator_reconcile_total")), "{{result}}"),),
        ),
        Panel(
            title="Waiting tenants",
            description="Tenants that are due, being worked on or to be tried again. A peak after "
            "a start is usual; a level that stays is not.",
            unit="short",
            queries=(Query(by("instance", of("fluxpay_operator_queue_depth")), "{{instance}}"),),
        ),
        Panel(
            title="How long a turn takes",
            description="From the look at a tenant to its written status.",
            unit="s",
            width=8,
            queries=quantiles(_TURN),
        ),
        Panel(
            title="Turns, all of them",
            description="Turns a second by how long they took.",
            unit="s",
            width=8,
            kind=Kind.HEATMAP,
            queries=heat(_TURN),
        ),
        Panel(
            title="Answers of the admin API",
            description="What the admin API said to the operator, by result.",
            unit="ops",
            width=8,
            queries=(
                Query(by("result", rate("fluxpay_operator_admin_requests_total")), "{{result}}"),
            ),
        ),
    ),
)
_STATES: Final = Row(
    "Tenants and keys",
    (
        Panel(
            title="Tenants by condition",
            description="How many tenants have each condition, now.",
            unit="short",
            kind=Kind.BARS,
            height=10,
            queries=(
                Query(
                    by("condition, status", of(_TENANTS), how="max"),
                    "{{condition}} {{status}}",
                ),
            ),
        ),
        Panel(
            title="Keys that end first",
            description="Until a key stops working; the ten that end first. A key that rotates by "
            "itself never comes close to zero.",
            unit="s",
            kind=Kind.BARS,
            height=10,
            queries=(
                Query(
                    "bottomk(10, "
                    + by(
                        "exported_namespace, tenant, key",
                        of("fluxpay_operator_key_expiry_timestamp_seconds"),
                        how="min",
                    )
                    + " - time())",
                    "{{exported_namespace}}/{{tenant}} {{key}}",
                ),
            ),
            steps=(
                Step(0, Colour.BAD),
                Step(259_200, Colour.WARN),
                Step(604_800, Colour.GOOD),
            ),
        ),
        Panel(
            title="Tenants that are not ready",
            description="Over time, by condition. They get there by themselves unless they are "
            "stalled.",
            unit="short",
            queries=(
                Query(
                    by(
                        "condition, status",
                        of(_TENANTS, 'condition="Ready"', 'status!="True"'),
                        how="max",
                    ),
                    "{{condition}} {{status}}",
                ),
                Query(
                    by(
                        "condition, status",
                        of(_TENANTS, 'condition=~"Degraded|Stalled"', 'status="True"'),
                        how="max",
                    ),
                    "{{condition}} {{status}}",
                ),
            ),
        ),
        Panel(
            title="Event loop lag",
            description="How late the operator comes to what is due: 99 %.",
            unit="s",
            queries=(
                Query(
                    quantile(
                        0.99,
                        "fluxpay_event_loop_lag_seconds",
                        'job="fluxpay-operator"',
                        labels="instance",
                    ),
                    "{{instance}}",
                ),
            ),
        ),
    ),
)

BOARD: Final = Board(
    uid="fluxpay-operator",
    title="FluxPay / Operator",
    description="Who acts, whose turn takes long, which tenants want a person, which keys end.",
    rows=(_NOW, _TURNS, _STATES),
)
