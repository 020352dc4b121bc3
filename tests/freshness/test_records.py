"""The first indicator: counted by the transaction what `sli` says of each fact."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.freshness.records import Records
from mesh_stream.freshness.sli import Blame, blame_record
from mesh_stream.runtime.report import Committed

NOW = 1_800_000_000_000
LIMIT = 60.0

AGES = st.sampled_from([0, 1, 59_999, 60_000, 60_001, 120_000]) | st.integers(-90_000, 200_000)
MOMENTS = AGES.map(lambda age: NOW - age) | st.just(-1)


def counted(*facts: tuple[int, int]) -> Records:
    records = Records(LIMIT)
    records.add(
        Committed(
            event_times=[when for when, _ in facts],
            arrivals=[arrived for _, arrived in facts],
            at=NOW,
        )
    )
    return records


def within(spread: list[tuple[str, float]], bound: float) -> float:
    return dict(spread)[str(bound)]


@given(st.lists(st.tuples(MOMENTS, MOMENTS), max_size=12))
def test_each_late_fact_is_blamed_as_the_indicator_says(facts: list[tuple[int, int]]) -> None:
    records = counted(*facts)

    dated = [(when, arrived) for when, arrived in facts if when >= 0]
    blames = Counter(blame_record(when, arrived, NOW, LIMIT * 1000) for when, arrived in dated)
    assert records.good == blames[None]
    assert {blame: records.bad[blame] for blame in Blame} == {
        Blame.OWN: blames[Blame.OWN], Blame.UPSTREAM: blames[Blame.UPSTREAM], Blame.UNSEEN: 0,
    }  # fmt: skip
    assert records.total == len(dated)


@given(st.lists(st.tuples(MOMENTS, MOMENTS), max_size=12))
def test_each_span_is_measured_where_both_its_ends_are_known(facts: list[tuple[int, int]]) -> None:
    records = counted(*facts)

    assert within(records.freshness.buckets(), LIMIT) == sum(
        NOW - when <= LIMIT * 1000 for when, _ in facts if when >= 0
    )
    assert within(records.residence.buckets(), LIMIT) == sum(
        NOW - arrived <= LIMIT * 1000 for _, arrived in facts if arrived >= 0
    )
    assert within(records.upstream_age.buckets(), LIMIT) == sum(
        arrived - when <= LIMIT * 1000 for when, arrived in facts if when >= 0 and arrived >= 0
    )


def test_what_was_late_when_it_arrived_is_not_ours() -> None:
    records = counted((NOW - 70_000, NOW - 5_000), (NOW - 70_000, NOW - 65_000))

    assert (records.bad[Blame.UPSTREAM], records.bad[Blame.OWN]) == (1, 1)


def test_what_arrived_exactly_in_time_and_was_published_late_is_ours() -> None:
    assert counted((NOW - 70_000, NOW - 10_000)).bad[Blame.OWN] == 1


def test_a_late_fact_that_does_not_say_when_it_arrived_is_ours() -> None:
    assert counted((NOW - 70_000, -1)).bad[Blame.OWN] == 1
