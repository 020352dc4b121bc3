"""What Prometheus remembers of the products: how old facts have been, and what budgets are left."""

from __future__ import annotations

import math
import time
from collections.abc import Container, Iterator
from typing import Any

import httpx

from mesh_stream.console.history import KEPT_SECONDS, SAMPLE_SECONDS, Point

ANSWER_SECONDS = 5.0
AGE = 'max by (product) (time() - mesh_output_last_event_timestamp_seconds{job="mesh-monitor"} > 0)'
"""Of a moment that is 0 there is no age: it would be as old as the epoch."""
_NO_FACT = 1e9
BUDGET = 'max by (product) (slo:period_error_budget_remaining:ratio{sloth_slo="minutes"})'


class UnansweredError(Exception):
    """Prometheus did not answer, or not what was asked."""


def client(url: str) -> httpx.Client:
    """Somebody to ask at an address, such as http://127.0.0.1:9090."""
    return httpx.Client(base_url=url, timeout=ANSWER_SECONDS)


def ages(asked: httpx.Client, products: Container[str]) -> dict[str, list[Point]]:
    """Product -> how old its newest fact was, over the last hour.

    Raises:
        UnansweredError: There is no telling.
    """
    now = time.time()
    asking = {"query": AGE, "start": now - KEPT_SECONDS, "end": now, "step": SAMPLE_SECONDS}
    return {
        name: [(at, value) for at, value in map(_point, series["values"]) if value < _NO_FACT]
        for name, series in _series(asked, "/api/v1/query_range", asking, products)
    }


def budgets(asked: httpx.Client, products: Container[str]) -> dict[str, float]:
    """Product -> the share of its budget of minutes that is left.

    Raises:
        UnansweredError: There is no telling.
    """
    found = {
        name: _point(series["value"])[1]
        for name, series in _series(asked, "/api/v1/query", {"query": BUDGET}, products)
    }
    return {name: left for name, left in found.items() if math.isfinite(left)}


def _series(
    asked: httpx.Client, path: str, parameters: dict[str, Any], products: Container[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        answer = asked.get(path, params=parameters).raise_for_status().json()
        for series in answer["data"]["result"]:
            name = series["metric"].get("product")
            if name in products:
                yield name, series
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnansweredError(
            f"cannot ask Prometheus at {asked.base_url}: {type(error).__name__}; is it running, "
            f"and does --prometheus name it?"
        ) from error


def _point(sample: list[Any]) -> tuple[float, float]:
    return float(sample[0]), float(sample[1])
