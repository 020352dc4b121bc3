"""The pictures, as ECharts options. Colours are the style sheet's: they follow the scheme.

https://echarts.apache.org/en/option.html
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mesh_stream.console.history import Point
from mesh_stream.console.shown import Shown
from mesh_stream.console.words import ICONS, span
from mesh_stream.freshness.sli import Blame, State, Verdict
from mesh_stream.product.product import Product

_LATE = "var(--stale)"
_FONT = {"fontFamily": "inherit", "fontSize": 11, "color": "var(--quiet)"}
_HEADROOM = 1.15


def freshness(points: Sequence[Point], promised: float, now: float) -> dict[str, Any]:
    """The newest fact's age over the last hour, against what is promised.

    Args:
        points: Moments and ages in seconds; a gap where there is none.
        promised: How old it may be, in seconds; infinite where nothing says.
        now: Where the line ends.
    """
    ages = [age for _, age in points if age is not None]
    bound = promised if math.isfinite(promised) else 0.0
    highest = max([bound * _HEADROOM, *ages]) or 1.0
    unit, length = next(
        (unit, length)
        for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
        if highest >= 2 * length or length == 1
    )
    line: dict[str, Any] = {
        "type": "line",
        "data": [
            [round((at - now) / 60, 2), None if age is None else round(age / length, 3)]
            for at, age in points
        ],
        "showSymbol": False,
        "silent": True,
        "lineStyle": {"width": 1.75, "color": "var(--line)"},
        "areaStyle": {"color": "var(--line)", "opacity": 0.12},
        "markLine": {
            "symbol": "none",
            "silent": True,
            "label": {
                **_FONT, "position": "insideStartTop", "formatter": f"promised {span(promised)}",
            },
            "lineStyle": {"type": "dashed", "color": "var(--promise)", "width": 1.25},
            "data": [{"yAxis": round(bound / length, 3)}] if bound else [],
        },
    }  # fmt: skip
    axis = {"axisLabel": _FONT, "axisTick": {"show": False}}
    return {
        "animation": False,
        "textStyle": _FONT,
        "grid": {"left": 4, "right": 22, "top": 12, "bottom": 2, "containLabel": True},
        "xAxis": {
            **axis,
            "type": "value",
            "min": -60,
            "max": 0,
            "interval": 20,
            "splitLine": {"show": False},
            "axisLine": {"onZero": False, "lineStyle": {"color": "var(--rule)"}},
            "axisLabel": {**_FONT, "formatter": "{value} min"},
        },
        "yAxis": {
            **axis,
            "type": "value",
            "axisLine": {"show": False},
            "min": 0,
            "max": _rounded_up(highest / length),
            "splitNumber": 2,
            "splitLine": {"lineStyle": {"color": "var(--rule)"}},
            "axisLabel": {**_FONT, "formatter": f"{{value}} {unit}"},
        },
        "series": [line],
    }


def _rounded_up(value: float) -> float:
    """The next value that a scale can end with."""
    step = math.pow(10, math.floor(math.log10(value)))
    return next(
        factor * step for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if value <= factor * step
    )


def levels(products: Sequence[Shown]) -> dict[str, int]:
    """Topic or product -> its column: raw topics in the first, a product after all it reads."""
    by_name = {one.name: one.product for one in products}
    found: dict[str, int] = {}

    def level(name: str) -> int:
        if name not in by_name:
            return found.setdefault(name, 0)
        if name not in found:
            found[name] = 1 + max(level(source) for source in sources(by_name[name]))
        return found[name]

    for name in sorted(by_name):
        level(name)
    return found


def sources(product: Product) -> list[str]:
    """What a product reads: another product's name, or a raw topic's."""
    return list(dict.fromkeys(port.product or port.topic for port in product.inputs))


def late(products: Sequence[Shown]) -> set[tuple[str, str]]:
    """The edges that bring what is late: (from, to).

    Of a product that is late because of what it reads, those that read from late products; where
    none of these is, all of them: raw topics do not say whose fault it is.
    """
    verdicts = {one.name: one.verdict for one in products}
    found = set()
    for one in products:
        if one.verdict.blame is Blame.UPSTREAM:
            read = sources(one.product)
            bad = [name for name in read if _is_stale(verdicts.get(name))]
            found |= {(name, one.name) for name in bad or read}
    return found


def _is_stale(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.state is State.STALE


def lineage(products: Sequence[Shown]) -> dict[str, Any]:
    """Raw topics, products, and the products that read those, from left to right."""
    columns = levels(products)
    shown = {one.name: one for one in products}
    late_edges = late(products)
    rows: dict[int, list[str]] = {}
    for name in sorted(columns):
        rows.setdefault(columns[name], []).append(name)
    tallest = max(map(len, rows.values()), default=1)
    places = {
        name: (column, (row + 0.5) * tallest / len(names))
        for column, names in rows.items()
        for row, name in enumerate(names)
    }
    return {
        "animation": False,
        "grid": {"left": 92, "right": 92, "top": 8, "bottom": 8},
        "xAxis": {"show": False, "min": 0, "max": max(rows, default=1) or 1},
        "yAxis": {"show": False, "min": 0, "max": tallest, "inverse": True},
        "series": [
            {
                "type": "graph",
                "coordinateSystem": "cartesian2d",
                "silent": True,
                "symbol": "rect",
                "symbolSize": [176, 42],
                "itemStyle": {"color": "transparent"},
                "edgeSymbol": ["none", "arrow"],
                "edgeSymbolSize": 7,
                "data": [_node(name, shown.get(name), place) for name, place in places.items()],
                "links": [
                    _edge(source, one.name, is_late=(source, one.name) in late_edges)
                    for one in sorted(products, key=lambda each: each.name)
                    for source in sources(one.product)
                ],
            }
        ],
    }


def _node(name: str, one: Shown | None, place: tuple[float, float]) -> dict[str, Any]:
    # The box is the label's own: a symbol's border is stretched with it.
    label: dict[str, Any] = {
        "show": True, "position": "inside", "width": 164, "overflow": "truncate", "padding": [5, 6],
        "fontFamily": "inherit", "color": "var(--text)", "fontSize": 12, "lineHeight": 16,
        "borderRadius": 7, "borderWidth": 1, "borderColor": "var(--edge)",
        "backgroundColor": "var(--sunken)",
    }  # fmt: skip
    # Braces would be read as places to fill in: names from declarations have none, topics neither.
    if one is None:
        label |= {"formatter": f"{name}\n{{quiet|raw topic}}", "rich": {"quiet": _FONT}}
    else:
        state = one.verdict.state
        whose = ", own fault" if one.verdict.blame is Blame.OWN else ""
        label |= {
            "formatter": f"{name}\n{{state|{ICONS[state]} {state}{whose}}}",
            "rich": {"state": {**_FONT, "color": f"var(--{state})", "fontWeight": 600}},
            "backgroundColor": "var(--raised)",
            "borderColor": f"var(--{state})",
            "borderWidth": 3 if whose else 1.5,
        }
    return {"name": name, "value": list(place), "label": label}


def _edge(source: str, target: str, *, is_late: bool) -> dict[str, Any]:
    edge: dict[str, Any] = {"source": source, "target": target}
    style = {"color": "var(--edge)", "width": 1.5, "opacity": 1, "curveness": 0}
    if is_late:
        style |= {"color": _LATE, "width": 3, "type": [6, 4]}
        edge["label"] = {
            "show": True, "formatter": "late", "color": _LATE, "fontWeight": 600, "fontSize": 12,
            "fontFamily": "inherit",
        }  # fmt: skip
    return edge | {"lineStyle": style}


def in_words(products: Sequence[Shown]) -> list[str]:
    """The same for those who cannot see the picture: a sentence for each product."""
    late_edges = late(products)
    return [
        f"{one.name}, {one.verdict.state}, reads "
        + ", ".join(
            f"{name}{' (late)' if (name, one.name) in late_edges else ''}"
            for name in sources(one.product)
        )
        for one in sorted(products, key=lambda each: each.name)
    ]


def summary(one: Shown, points: Sequence[Point]) -> str:
    """What the freshness line shows, in words."""
    known = [age for _, age in points if age is not None]
    most = f", at most {span(max(known))} in the last hour" if known else ""
    return (
        f"Age of the newest fact of {one.name}: {span(one.reading.age)}{most}; "
        f"promised {span(one.reading.objective.newest)}"
    )
