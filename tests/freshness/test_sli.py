"""The two indicators: what a product is at one moment, and whose it is where that is bad."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mesh_stream.freshness.sli import (
    FRESH,
    IDLE,
    OWN,
    UNKNOWN,
    UPSTREAM,
    Blame,
    Evidence,
    Objective,
    State,
    Waiting,
    blame_record,
    judge,
    objective_of,
)
from mesh_stream.product.loader import load_mesh
from mesh_stream.product.product import Emit, Product, Session

ROOT = Path(__file__).parent.parent.parent

PROMISE = Objective(freshness=10, cadence=0, availability=0.99)
HOURLY = Objective(freshness=10, cadence=100, availability=0.99)
NOW = 1_000.0


def verdict(seen: Evidence, *, now: float = NOW, promise: Objective = PROMISE) -> object:
    return judge(seen, promise, now=now, believed_for=60)


def seen(**moments: float | Waiting | None) -> Evidence:
    return replace(Evidence(seen_at=NOW), **moments)  # type: ignore[arg-type]  # as they are named


def waiting(*, arrived: float, event_time: float) -> Evidence:
    return seen(newest_fact=NOW, last_asked=NOW, waiting=Waiting(arrived, event_time))


# By example


def test_a_young_fact_is_fresh() -> None:
    assert verdict(seen(newest_fact=NOW - 10, last_asked=NOW - 9)) == FRESH
    assert verdict(seen(newest_fact=NOW - 10.1, last_asked=NOW - 10.1)) != FRESH


def test_silence_is_idle_however_long_it_lasts() -> None:
    quiet = seen(newest_fact=NOW - 3, newest_input=NOW - 3, last_asked=NOW - 2)
    for later in range(60):
        assert verdict(quiet, now=NOW + later) in (FRESH, IDLE)
    assert verdict(quiet, now=NOW + 50) == IDLE


def test_a_product_that_never_had_input_is_idle() -> None:
    assert verdict(seen()) == IDLE


def test_a_record_that_waits_too_long_is_the_products_own_fault() -> None:
    assert verdict(waiting(arrived=NOW - 9, event_time=NOW - 10)) == FRESH
    assert verdict(waiting(arrived=NOW - 9, event_time=NOW - 10.1)) == OWN


def test_a_record_that_came_late_may_wait_as_long_again() -> None:
    late = seen(newest_fact=NOW - 100, waiting=Waiting(NOW - 10, NOW - 100))
    assert verdict(late) == UPSTREAM
    assert verdict(late, now=NOW + 0.1) == OWN


def test_a_record_that_came_late_and_is_about_to_be_read_spoils_no_young_output() -> None:
    assert verdict(waiting(arrived=NOW - 1, event_time=NOW - 100)) == FRESH


def test_a_record_that_has_just_come_after_a_silence_is_not_overdue() -> None:
    old = seen(newest_fact=NOW - 500, last_asked=NOW - 500, waiting=Waiting(NOW - 1, NOW - 2))
    assert verdict(old) == IDLE


def test_records_that_become_no_facts_make_it_stale() -> None:
    rejecting = seen(newest_fact=NOW - 50, newest_input=NOW - 1, last_asked=NOW - 1)
    assert verdict(rejecting) == OWN
    assert verdict(seen(newest_input=NOW - 1, last_asked=NOW - 1)) == OWN


def test_records_that_are_filtered_ask_for_nothing() -> None:
    assert verdict(seen(newest_fact=NOW - 50, newest_input=NOW, last_asked=NOW - 50)) == IDLE


def test_facts_that_are_old_because_their_records_came_late_are_upstreams() -> None:
    late = seen(newest_fact=NOW - 50, newest_input=NOW - 50, last_asked=NOW - 1)
    assert verdict(late) == UPSTREAM


def test_silence_after_a_record_that_came_in_time_but_not_at_once_is_idle() -> None:
    # It happened 8 s before it arrived, within the promise; then nothing came.
    quiet = seen(newest_fact=NOW - 12, newest_input=NOW - 12, last_asked=NOW - 4)
    assert verdict(quiet) == IDLE


def test_a_window_may_be_as_old_as_it_is_long() -> None:
    busy = seen(newest_fact=NOW - 110, newest_input=NOW, last_asked=NOW, asked_since=NOW - 110)
    assert verdict(busy, promise=HOURLY) == FRESH
    busy = replace(busy, last_asked=NOW + 1, newest_input=NOW + 1)
    assert verdict(busy, promise=HOURLY, now=NOW + 1) == OWN


def test_the_first_event_after_a_night_opens_a_window_that_is_not_due() -> None:
    morning = seen(newest_fact=NOW - 9_000, newest_input=NOW, last_asked=NOW, asked_since=NOW)
    assert verdict(morning, promise=HOURLY) == IDLE
    later = replace(morning, asked_since=NOW - 111)
    assert verdict(later, promise=HOURLY) == OWN


def test_what_nobody_has_looked_at_lately_is_unknown() -> None:
    assert verdict(Evidence()) == UNKNOWN
    assert verdict(replace(seen(newest_fact=NOW), seen_at=NOW - 60)) == FRESH
    assert verdict(replace(seen(newest_fact=NOW), seen_at=NOW - 60.1)) == UNKNOWN


def test_a_late_record_is_upstreams_where_it_was_late_when_it_arrived() -> None:
    assert blame_record(100, 105, 110, 10) is None
    assert blame_record(100, 105, 110.1, 10) is Blame.OWN
    assert blame_record(100, 110.1, 110.2, 10) is Blame.UPSTREAM


# What is promised


@pytest.fixture(scope="module")
def mesh() -> dict[str, Product]:
    return dict(load_mesh(ROOT / "products").products)


def test_the_promise_comes_from_the_declaration(mesh: dict[str, Product]) -> None:
    assert objective_of(mesh["orders-completed"]) == Objective(900, 0, 0.999)
    # Each change is published at once.
    assert objective_of(mesh["users-active"]).cadence == 0


def test_between_two_windows_lies_the_time_of_one(mesh: dict[str, Product]) -> None:
    hourly = objective_of(mesh["revenue-hourly"])
    assert (hourly.freshness, hourly.cadence, hourly.newest) == (3_600, 3_600, 7_200)


def test_when_a_session_is_over_nobody_promises(mesh: dict[str, Product]) -> None:
    product = mesh["revenue-hourly"]
    assert product.state is not None
    state = replace(product.state, window=Session(gap=1_000), emit=Emit.ON_CLOSE)
    promise = objective_of(replace(product, state=state))
    assert promise.cadence == math.inf
    # A session that goes on keeps nobody waiting; a record that nobody reads does.
    ongoing = seen(newest_input=NOW, last_asked=NOW, asked_since=NOW - 90_000)
    assert verdict(ongoing, promise=promise) == IDLE
    stuck = replace(ongoing, waiting=Waiting(NOW - 3_601, NOW - 3_601))
    assert verdict(stuck, promise=promise) == OWN


# Whatever is seen

SPAN = 200
moments = st.integers(0, SPAN)


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    """What a look may show: whole seconds, none after the look."""
    at = draw(st.integers(SPAN // 2, SPAN))
    upto = st.integers(0, at)
    maybe = st.none() | upto
    asked = draw(maybe)
    arrived = draw(maybe)
    return Evidence(
        seen_at=at,
        newest_fact=draw(maybe),
        newest_input=draw(maybe),
        last_asked=asked,
        asked_since=None if asked is None else draw(st.integers(0, asked)),
        waiting=None if arrived is None else Waiting(arrived, draw(st.integers(0, arrived))),
    )


promises = st.builds(
    Objective, st.integers(1, 50), st.sampled_from([0, 5, 40, math.inf]), st.just(0.99)
)
ages = st.integers(0, SPAN)


def shifted(evidence: Evidence, by: int) -> Evidence:
    def later(moment: float | None) -> float | None:
        return None if moment is None else moment + by

    wait = evidence.waiting
    return Evidence(
        seen_at=evidence.seen_at + by,
        newest_fact=later(evidence.newest_fact),
        newest_input=later(evidence.newest_input),
        last_asked=later(evidence.last_asked),
        asked_since=later(evidence.asked_since),
        waiting=None if wait is None else Waiting(wait.arrived + by, wait.event_time + by),
    )


@given(evidences(), promises, ages, st.integers(0, 60))
def test_unknown_is_never_good_and_nothing_else_is_old(
    evidence: Evidence, promise: Objective, age: int, believed: int
) -> None:
    found = judge(evidence, promise, now=evidence.seen_at + age, believed_for=believed)
    assert (found == UNKNOWN) == (age > believed)
    assert found.is_good == (found.blame is None)
    assert found.is_good == (found.state in (State.FRESH, State.IDLE))


@given(evidences(), promises, ages, st.integers(0, 1_000_000))
def test_it_does_not_matter_when_all_of_it_happened(
    evidence: Evidence, promise: Objective, age: int, by: int
) -> None:
    now = evidence.seen_at + age
    assert judge(evidence, promise, now=now, believed_for=60) == judge(
        shifted(evidence, by), promise, now=now + by, believed_for=60
    )


@given(evidences(), promises, ages, st.integers(1, SPAN))
def test_a_younger_fact_never_makes_it_worse(
    evidence: Evidence, promise: Objective, age: int, younger: int
) -> None:
    now = evidence.seen_at + age
    fact = min((evidence.newest_fact or 0) + younger, evidence.seen_at)
    better = replace(evidence, newest_fact=fact)
    before = judge(evidence, promise, now=now, believed_for=SPAN)
    after = judge(better, promise, now=now, believed_for=SPAN)
    assert after.is_good or not before.is_good
    assert after == FRESH or before != FRESH


@given(evidences(), promises, ages, st.integers(1, SPAN))
def test_time_alone_mends_nothing_but_the_silence_after_a_stale_output(
    evidence: Evidence, promise: Objective, age: int, later: int
) -> None:
    now = evidence.seen_at + age
    before = judge(evidence, promise, now=now, believed_for=SPAN)
    after = judge(evidence, promise, now=now + later, believed_for=SPAN)
    if before == UNKNOWN:
        assert after == UNKNOWN
    if after == FRESH:
        assert before == FRESH
    if after == IDLE and not before.is_good:
        # Nothing waits too long, and what had asked for a fact is long past.
        assert before.state is State.STALE
        assert evidence.last_asked is not None
        assert now + later - evidence.last_asked > promise.newest


@given(evidences(), promises, ages)
def test_what_waits_too_long_makes_it_stale_whatever_else_is_seen(
    evidence: Evidence, promise: Objective, age: int
) -> None:
    now = evidence.seen_at + age
    wait = evidence.waiting
    assume(wait is not None and now - wait.arrived > promise.freshness)
    assert judge(evidence, promise, now=now, believed_for=SPAN) == OWN


@given(moments, moments, moments, st.integers(1, 50))
@example(0, 10, 10, 10)
def test_a_record_is_blamed_as_long_as_it_waits_as_when_it_is_committed(
    event: int, to_arrive: int, to_commit: int, freshness: int
) -> None:
    arrived, now = event + to_arrive, event + to_arrive + to_commit
    promise = Objective(freshness, 0, 0.99)
    alone = Evidence(seen_at=now, waiting=Waiting(arrived, event))
    found = judge(alone, promise, now=now, believed_for=60)
    committed = blame_record(event, arrived, now, freshness)
    if committed is None:
        assert found == IDLE
    elif committed is Blame.OWN or to_commit <= freshness:
        assert found.blame is committed
    else:
        # Late when it arrived, and left lying as long again since.
        assert found == OWN
