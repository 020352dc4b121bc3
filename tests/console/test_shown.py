from __future__ import annotations

from collections import Counter

import pytest

from mesh_stream.console.shown import (
    blindness,
    budget_of,
    tally,
    title,
    verdict_of,
    worst_first,
)
from mesh_stream.freshness.monitor import Minutes
from mesh_stream.freshness.sli import FRESH, IDLE, OWN, UNKNOWN, UPSTREAM, Blame, State
from tests.console.showing import reading, shown


@pytest.mark.parametrize(
    ("seen", "problem", "state"),
    [
        (0.5, "", State.FRESH),
        (7.9, "", State.FRESH),
        (8.1, "", State.UNKNOWN),
        (2.4, "no answer", State.FRESH),
        (2.6, "no answer", State.UNKNOWN),
    ],
)
def test_what_was_seen_is_believed_for_seconds_and_less_once_looking_failed(
    seen: float, problem: str, state: State
) -> None:
    assert verdict_of(reading(seen=seen, problem=problem)).state is state


def test_stale_products_come_first_and_own_faults_before_others() -> None:
    mixed = [
        shown("a", FRESH), shown("b", IDLE), shown("c", UNKNOWN), shown("d", UPSTREAM),
        shown("f", OWN), shown("e", OWN),
    ]  # fmt: skip
    assert [one.name for one in worst_first(mixed)] == ["e", "f", "d", "c", "b", "a"]


def test_the_title_says_the_worst() -> None:
    assert title([shown("a"), shown("b", OWN), shown("c", OWN)]) == "2 stale - mesh"
    assert title([shown("a"), shown("b", UNKNOWN)]) == "1 unknown - mesh"
    assert title([shown("a"), shown("b", IDLE)]) == "all up to date - mesh"
    assert title([]) == "no products - mesh"


def test_states_are_tallied_worst_first() -> None:
    assert tally([shown("a"), shown("b", OWN), shown("c")]) == [(State.STALE, 1), (State.FRESH, 2)]


def test_only_a_mesh_of_which_nothing_is_seen_is_called_blind() -> None:
    lost = shown("a", UNKNOWN)
    assert blindness([lost]) == ""
    gone = reading(seen=9, problem="the broker does not answer")
    blind = type(lost)(gone, verdict_of(gone), lost.budget, lost.activity)
    assert blindness([blind]) == "the broker does not answer"
    assert blindness([blind, shown("b")]) == ""


def test_a_budget_is_spent_by_bad_minutes_whoever_s_they_are() -> None:
    minutes = Minutes(good=95, bad=Counter({Blame.OWN: 3, Blame.UPSTREAM: 1, Blame.UNSEEN: 1}))
    found = budget_of(minutes, 0.9, "12:00")
    assert found.left == pytest.approx(0.5)
    assert found.of == "5 bad of 100 min since 12:00"


def test_a_budget_of_nothing_is_used_up_by_one_bad_minute_and_whole_without() -> None:
    assert budget_of(Minutes(good=9), 1.0, "12:00").left == 1.0
    spent = budget_of(Minutes(good=9, bad=Counter({Blame.OWN: 1})), 1.0, "12:00").left
    assert spent is not None
    assert spent <= 0
    assert budget_of(Minutes(), 0.99, "12:00").left is None
