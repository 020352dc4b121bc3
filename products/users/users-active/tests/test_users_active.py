"""What examples cannot say well: that something holds in every order of events, and over time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from mesh_stream.testing import ProductDriver

FOLDER = Path(__file__).parents[1]
NINE = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.fixture
def users() -> ProductDriver:
    return ProductDriver.load(FOLDER)


def active(minute: int, user_id: str = "cust_1") -> dict[str, Any]:
    return {"user_id": user_id, "occurred_at": (NINE + timedelta(minutes=minute)).isoformat()}


@pytest.mark.parametrize("minutes", list(permutations((5, 20, 55))))
def test_the_newest_fact_is_the_same_in_whatever_order_events_come(
    users: ProductDriver, minutes: tuple[int, ...]
) -> None:
    for minute in minutes:
        users.send(active(minute))

    assert users.facts[-1] == {
        "user_id": "cust_1",
        "window_start": NINE,
        "window_end": NINE + timedelta(hours=1),
        "first_seen": NINE + timedelta(minutes=5),
        "last_seen": NINE + timedelta(minutes=55),
        "events": 3,
    }


def test_a_commit_publishes_one_fact_for_each_user_and_hour(users: ProductDriver) -> None:
    with users.one_commit():
        for minute in (5, 20, 70):
            users.send_all([active(minute, "cust_1"), active(minute, "cust_2")])

    told = {(fact["user_id"], fact["window_start"].hour): fact["events"] for fact in users.facts}
    assert told == {("cust_1", 9): 2, ("cust_1", 10): 1, ("cust_2", 9): 2, ("cust_2", 10): 1}
    assert len(users.facts) == len(told)


def test_an_hour_is_forgotten_after_its_grace(users: ProductDriver) -> None:
    users.send(active(30))
    assert ("cust_1", NINE) in users.states

    users.advance(NINE + timedelta(hours=2))

    assert users.states == {}
    assert len(users.facts) == 1


def test_facts_are_keyed_by_their_user_and_happened_when_that_was_last_seen(
    users: ProductDriver,
) -> None:
    users.send_all([active(30), active(10)])

    assert {published.key for published in users.published} == {b"cust_1"}
    half_past = int((NINE + timedelta(minutes=30)).timestamp() * 1000)
    assert [published.event_time for published in users.published] == [half_past, half_past]


def test_what_is_rejected_leaves_the_hour_as_it_was(users: ProductDriver) -> None:
    users.send(active(10))
    before = users.states

    users.send(active(20), key="cust_2")

    assert len(users.rejected) == 1
    assert users.states == before
