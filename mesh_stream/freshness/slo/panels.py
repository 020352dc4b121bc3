"""The kinds of panel that the dashboards are made of, each in one way only.

The data source is a variable of the dashboard, so that one dashboard serves any Prometheus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE = common_models.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, RED, GREY = "green", "yellow", "red", "text"
WIDTH = 24
"""Columns of Grafana's grid."""
HEIGHT = 8

Panel = bargauge.Panel | stat.Panel | statetimeline.Panel | table.Panel | timeseries.Panel
Steps = Sequence[tuple[float | None, str]]
"""From which value on which colour; the first from nowhere."""
Words = Mapping[int, tuple[str, str]]
"""Number -> the word that is shown for it, and its colour."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a panel asks for.

    Attributes:
        expression: In PromQL.
        name: What a line is called: a template of its labels. In a table: the column.
        unit: Grafana's unit; in a table, where each column has its own.
        steps: The column's colours.
        words: What is shown for the column's numbers.
    """

    expression: str
    name: str
    unit: str = "short"
    steps: Steps = ()
    words: Words | None = None


def lines(
    title: str, description: str, queries: Sequence[Query], *, unit: str, width: int = 12
) -> Panel:
    """Lines over time."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .height(HEIGHT)
        .span(width)
        .fill_opacity(8)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.LIST)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_models.TooltipDisplayMode.MULTI)
            .sort(common_models.SortOrder.DESCENDING)
        )
    )
    for letter, query in zip(_letters(), queries, strict=False):
        panel.with_target(_target(letter, query).range())
    return panel


def timeline(title: str, description: str, query: Query, words: Words, *, width: int = 12) -> Panel:
    """One band for each series, coloured by what it is."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .height(HEIGHT)
        .span(width)
        .mappings([_mapping(words)])
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .with_target(_target("A", query).range())
    )


def figure(title: str, description: str, query: Query, *, width: int = 6) -> Panel:
    """One number, coloured."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(query.unit)
        .height(4)
        .span(width)
        .thresholds(_thresholds(query.steps))
        .color_mode(common_models.BigValueColorMode.BACKGROUND_SOLID)
        .graph_mode(common_models.BigValueGraphMode.NONE)
        .with_target(_target("A", query).instant())
    )
    return panel.mappings([_mapping(query.words)]) if query.words else panel


def rows(
    title: str, description: str, queries: Sequence[Query], *, shown: Mapping[str, str]
) -> Panel:
    """A table with a row for each set of labels, and a column for each query.

    Args:
        title: The panel's title.
        description: What it says.
        queries: The columns; all of them have the same labels.
        shown: Those labels -> the columns' names, in the order that they are shown in.
    """
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .height(HEIGHT + 2)
        .span(WIDTH)
        .with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    )
    names = dict(shown)
    for letter, query in zip(_letters(), queries, strict=False):
        target = _target(letter, query).instant().format(PromQueryFormat.TABLE)
        panel.with_target(target)
        names[f"Value #{letter}"] = query.name
        panel.override_by_name(query.name, _column(query))
    return panel.with_transformation(
        models.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {"Time": True},
                "indexByName": {name: index for index, name in enumerate(names)},
                "renameByName": names,
            },
        )
    )


def bars(title: str, description: str, query: Query, *, width: int = 12) -> Panel:
    """A bar for each series, by its value now."""
    return (
        bargauge.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(query.unit)
        .min(0)
        .height(HEIGHT)
        .span(width)
        .orientation(common_models.VizOrientation.HORIZONTAL)
        .thresholds(_thresholds(query.steps))
        .with_target(_target("A", query).instant())
    )


def _target(letter: str, query: Query) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .ref_id(letter)
        .datasource(DATASOURCE)
        .expr(query.expression)
        .legend_format(query.name)
    )


def _column(query: Query) -> list[models.DynamicConfigValue]:
    properties = [models.DynamicConfigValue(id_val="unit", value=query.unit)]
    if query.words:
        properties.append(
            models.DynamicConfigValue(id_val="mappings", value=[_mapping(query.words)])
        )
    if query.steps or query.words:
        properties += [
            models.DynamicConfigValue(id_val="thresholds", value=_thresholds(query.steps).build()),
            models.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}),
        ]
    return properties


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value, colour) for value, colour in steps or ((None, GREY),)])
    )


def _mapping(words: Words) -> models.ValueMap:
    return models.ValueMap(
        {
            str(number): models.ValueMappingResult(text=word, color=colour, index=index)
            for index, (number, (word, colour)) in enumerate(words.items())
        }
    )


def _letters() -> Sequence[str]:
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
