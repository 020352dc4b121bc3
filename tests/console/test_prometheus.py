from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from mesh_stream.console.prometheus import UnansweredError, ages, budgets


def answering(result: Any, status: int = 200) -> httpx.Client:
    body = json.dumps({"status": "success", "data": {"result": result}})
    transport = httpx.MockTransport(lambda _request: httpx.Response(status, text=body))
    return httpx.Client(base_url="http://127.0.0.1:9090", transport=transport)


def test_ages_of_known_products_are_read_and_those_before_any_fact_are_none() -> None:
    found = ages(
        answering(
            [
                {"metric": {"product": "paid"}, "values": [[10, "1.5"], [15, "1.8e9"]]},
                {"metric": {"product": "other"}, "values": [[10, "1"]]},
            ]
        ),
        {"paid"},
    )
    assert found == {"paid": [(10.0, 1.5)]}


def test_budgets_that_are_no_number_are_left_out() -> None:
    result = [
        {"metric": {"product": name}, "value": [10, value]}
        for name, value in (("paid", "-0.25"), ("new", "NaN"))
    ]
    assert budgets(answering(result), {"paid", "new"}) == {"paid": -0.25}


@pytest.mark.parametrize("client", [answering([], 500), answering("text"), answering([{}])])
def test_an_answer_that_is_none_is_said_to_be_none(client: httpx.Client) -> None:
    with pytest.raises(UnansweredError, match="--prometheus"):
        budgets(client, {"paid"})
