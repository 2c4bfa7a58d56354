"""Boards as Grafana reads them, by its own SDK.

Knows the SDK, where panels are laid and which variables every dashboard has. Must not know what
any dashboard shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from string import ascii_uppercase
from typing import Final
from urllib.parse import quote

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as look
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heat_look
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.source.vocabulary import Board, Kind, Panel, Query

Picture = timeseries.Panel | stat.Panel | bargauge.Panel | heatmap.Panel

COLUMNS: Final = 24
SOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG: Final = "fluxpay"


def document(board: Board) -> str:
    """The dashboard as a file."""
    text = json.dumps(_built(board), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False)
    return f"{text}\n"


def _built(board: Board) -> model.Dashboard:
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        .readonly()
        .timezone("utc")
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(_links())
        .variables(_variables())
    )
    number = 0
    for row, panels in _laid(board):
        made = made.with_row(row)
        for panel, place in panels:
            number += 1
            made = made.with_panel(_picture(panel).id(number).grid_pos(place))
    return made.build()


def _laid(board: Board) -> Iterator[tuple[dashboard.Row, list[tuple[Panel, model.GridPos]]]]:
    """Rows and their panels, which flow from left to right; a row of panels is as high as any."""
    top = 0
    for position, row in enumerate(board.rows):
        heading = dashboard.Row(row.title).id(1000 + position)
        heading = heading.grid_pos(model.GridPos(x=0, y=top, w=COLUMNS, h=1))
        top += 1
        left, height, placed = 0, 0, []
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                left, top, height = 0, top + height, 0
            placed.append((panel, model.GridPos(x=left, y=top, w=panel.width, h=panel.height)))
            left, height = left + panel.width, max(height, panel.height)
        top += height
        yield heading, placed


def _links() -> dashboard.DashboardLink:
    """The other dashboards of ours, for the same time and the same choices."""
    link = dashboard.DashboardLink("FluxPay").type(model.DashboardLinkType.DASHBOARDS).tags([TAG])
    return link.include_vars(True).keep_time(True)  # noqa: FBT003 - the SDK's own way


def _variables() -> list[Builder[model.VariableModel]]:
    sources = (("datasource", "Metrics", "prometheus"), ("traces", "Traces", "tempo"))
    return [
        *(
            dashboard.DatasourceVariable(name).label(told).type(kind)
            for name, told, kind in sources
        ),
        *(
            dashboard.QueryVariable(name)
            .label(name.title())
            .datasource(SOURCE)
            .query({"query": f"label_values({selected}, {name})", "refId": name})
            .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(model.VariableSort.ALPHABETICAL_ASC)
            .multi(True)  # noqa: FBT003 - the SDK's own way
            .include_all(True)  # noqa: FBT003 - as above
            .all_value(".*")
            .current(model.VariableOption(selected=True, text="All", value="$__all"))
            for name, selected in (
                ("namespace", "fluxpay_build_info"),
                ("job", 'fluxpay_build_info{namespace=~"$namespace"}'),
            )
        ),
    ]


def _picture(panel: Panel) -> Picture:
    shown = _of_kind(panel).title(panel.title).description(panel.description).unit(panel.unit)
    shown = shown.datasource(SOURCE).height(panel.height).span(panel.width)
    for name, query in zip(ascii_uppercase, panel.queries, strict=False):
        shown = shown.with_target(_target(name, query, panel.kind))
    if panel.steps:
        shown = shown.thresholds(_thresholds(panel))
    if panel.most is not None:
        shown = shown.max(panel.most)
    if panel.decimals is not None:
        shown = shown.decimals(panel.decimals)
    if panel.traces:
        shown = shown.links([_to_traces(panel.traces)])
    return shown


def _of_kind(panel: Panel) -> Picture:
    match panel.kind:
        case Kind.LINES | Kind.AREAS:
            return _lines(panel)
        case Kind.STAT:
            reduced = common.ReduceDataOptions().calcs(["lastNotNull"])
            numbers = stat.Panel().reduce_options(reduced)
            return numbers.color_mode(look.BigValueColorMode.VALUE).graph_mode(
                look.BigValueGraphMode.NONE
            )
        case Kind.BARS:
            reduced = common.ReduceDataOptions().calcs(["lastNotNull"])
            bars = bargauge.Panel().reduce_options(reduced).min(0)
            return bars.orientation(look.VizOrientation.HORIZONTAL)
        case Kind.HEATMAP:
            colour = heatmap.HeatmapColorOptions().mode(heat_look.HeatmapColorMode.SCHEME)
            axis = heatmap.YAxisConfig().unit(panel.unit)
            colour = colour.scheme("Blues").steps(64).exponent(0.5)
            return heatmap.Panel().color(colour).y_axis(axis)


def _lines(panel: Panel) -> timeseries.Panel:
    legend = common.VizLegendOptions().show_legend(True)  # noqa: FBT003 - the SDK's own way
    legend = legend.display_mode(look.LegendDisplayMode.LIST)
    drawn = timeseries.Panel().min(0).line_width(2)
    drawn = drawn.legend(legend.placement(look.LegendPlacement.BOTTOM))
    if panel.kind is Kind.AREAS:
        stacking = common.StackingConfig().mode(look.StackingMode.NORMAL)
        drawn = drawn.fill_opacity(40).stacking(stacking)
    if panel.steps:
        style = common.GraphThresholdsStyleConfig()
        drawn = drawn.thresholds_style(style.mode(look.GraphThresholdsStyleMode.DASHED))
    return drawn


def _target(name: str, query: Query, kind: Kind) -> prometheus.Dataquery:
    target = prometheus.Dataquery().ref_id(name).expr(query.expr).legend_format(query.legend)
    target = target.datasource(SOURCE).exemplar(query.has_exemplars)
    if kind is Kind.HEATMAP:
        target = target.format(PromQueryFormat.HEATMAP)
    return target.instant() if kind.is_instant else target.range()


def _thresholds(panel: Panel) -> dashboard.ThresholdsConfig:
    # Grafana wants a first step without a beginning.
    steps = [
        model.Threshold(value=None if number == 0 else step.start, color=step.colour.value)
        for number, step in enumerate(panel.steps)
    ]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _to_traces(search: str) -> dashboard.DashboardLink:
    pane = {
        "datasource": "${traces}",
        "queries": [{"refId": "A", "queryType": "traceql", "query": search}],
        "range": {"from": "${__from}", "to": "${__to}"},
    }
    panes = quote(json.dumps({"traces": pane}, separators=(",", ":")), safe="${}_")
    link = dashboard.DashboardLink("Traces").type(model.DashboardLinkType.LINK)
    return link.url(f"/explore?schemaVersion=1&panes={panes}").target_blank(True)  # noqa: FBT003
