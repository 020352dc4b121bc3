from __future__ import annotations

import json
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from mesh_stream.freshness.slo.panels import GREEN, RED, Panel, Query, bars, figure, lines, rows


def built(panel: Panel) -> Any:
    return json.loads(json.dumps(panel.build(), cls=JSONEncoder))


def test_each_query_has_a_letter_of_its_own() -> None:
    panel = built(lines("t", "d", [Query("a", "one"), Query("b", "two")], unit="s"))

    assert [(target["refId"], target["expr"]) for target in panel["targets"]] == [
        ("A", "a"),
        ("B", "b"),
    ]
    assert all(target["range"] for target in panel["targets"])


def test_a_tables_columns_are_named_in_their_order() -> None:
    queries = [Query("a", "one", "s"), Query("b", "two", steps=((None, GREEN), (1.0, RED)))]

    panel = built(rows("t", "d", queries, shown={"product": "product"}))

    organize = panel["transformations"][1]["options"]
    assert organize["renameByName"] == {
        "product": "product",
        "Value #A": "one",
        "Value #B": "two",
    }
    assert list(organize["indexByName"].values()) == [0, 1, 2]
    assert [target["format"] for target in panel["targets"]] == ["table", "table"]
    units = {
        override["matcher"]["options"]: override["properties"][0]["value"]
        for override in panel["fieldConfig"]["overrides"]
    }
    assert units == {"one": "s", "two": "short"}


def test_a_figure_shows_words_for_numbers() -> None:
    panel = built(figure("t", "d", Query("a", "", words={2: ("stale", RED)})))

    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    assert mapping["options"] == {"2": {"text": "stale", "color": "red", "index": 0}}


def test_what_has_no_steps_has_no_colour_either() -> None:
    panel = built(bars("t", "d", Query("a", "one")))

    (step,) = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert step == {"value": None, "color": "text"}
