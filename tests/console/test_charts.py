from __future__ import annotations

import math
from typing import Any

import pytest

from mesh_stream.console.charts import freshness, in_words, late, levels, lineage
from mesh_stream.freshness.sli import FRESH, OWN, UPSTREAM
from tests.console.showing import NOW, shown

CHAIN = [
    shown("paid", OWN, reads=("raw.orders",)),
    shown("revenue", UPSTREAM, reads=("paid", "raw.rates")),
    shown("stock", FRESH, reads=("raw.goods",)),
]


def links(options: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(link["source"], link["target"]): link for link in options["series"][0]["links"]}


def test_a_product_stands_right_of_all_it_reads() -> None:
    assert levels(CHAIN) == {
        "raw.orders": 0, "raw.rates": 0, "raw.goods": 0, "paid": 1, "stock": 1, "revenue": 2,
    }  # fmt: skip


def test_the_edge_from_the_late_product_is_marked_and_no_other() -> None:
    assert late(CHAIN) == {("paid", "revenue")}
    marked = {edge for edge, link in links(lineage(CHAIN)).items() if "label" in link}
    assert marked == {("paid", "revenue")}


def test_where_no_product_is_late_all_that_a_late_one_reads_is_marked() -> None:
    one = shown("revenue", UPSTREAM, reads=("raw.orders", "raw.rates"))
    assert late([one]) == {("raw.orders", "revenue"), ("raw.rates", "revenue")}


def test_a_product_at_fault_is_marked_itself() -> None:
    nodes = {node["name"]: node["label"] for node in lineage(CHAIN)["series"][0]["data"]}
    assert "own fault" in nodes["paid"]["formatter"]
    assert nodes["paid"]["borderWidth"] > nodes["revenue"]["borderWidth"]
    assert "own fault" not in nodes["revenue"]["formatter"]


def test_the_picture_is_told_in_words_too() -> None:
    assert in_words(CHAIN)[1] == "revenue, stale, reads paid (late), raw.rates"


@pytest.mark.parametrize(
    ("promised", "unit", "bound"), [(5, "s", 5), (900, "min", 15), (7_200, "h", 2)]
)
def test_the_line_has_the_unit_of_what_is_promised(promised: int, unit: str, bound: float) -> None:
    options = freshness([(NOW - 60, promised / 2), (NOW, None)], promised, NOW)
    assert options["yAxis"]["axisLabel"]["formatter"] == f"{{value}} {unit}"
    assert options["yAxis"]["max"] > bound
    line = options["series"][0]
    assert line["markLine"]["data"] == [{"yAxis": bound}]
    assert line["data"] == [[-1, bound / 2], [0, None]]


def test_a_promise_without_end_has_no_line_and_no_age_is_no_fault() -> None:
    options = freshness([], math.inf, NOW)
    assert options["series"][0]["markLine"]["data"] == []
    assert options["yAxis"]["max"] > 0
