"""What is told of a transaction: how new its input was, and whose witness hears of it."""

from __future__ import annotations

from collections import Counter

import pytest

from mesh_stream.pipeline.record import Fact, Outcome, Rejected
from mesh_stream.runtime.report import Committed, Ending, Witnesses, WorkerState
from tests.pipeline.making import message

NOW = 1_800_000_000_000
LATE = Rejected(message(), "contract", "late", "too late")


def fact(event_time: int, arrived: int) -> Fact:
    return Fact(b"", None, event_time, arrived)


def concluded(*outcomes: Outcome, forwards: bool = False) -> Committed:
    report = Committed()
    for outcome in outcomes:
        report.add("raw.orders", outcome, forwards=forwards)
    report.conclude(at=NOW, took=0.1)
    return report


def test_facts_are_told_with_their_times_and_their_arrivals_side_by_side() -> None:
    report = concluded(
        Outcome(facts=[fact(1, 5), fact(3, 6)], arrived=6),
        Outcome(facts=[fact(2, 7)], arrived=7),
    )

    assert list(zip(report.event_times, report.arrivals, strict=True)) == [(1, 5), (3, 6), (2, 7)]
    assert (report.facts, report.newest_event, report.newest_input) == (3, 3, 3)


def test_no_moment_lies_after_the_commit() -> None:
    ahead = NOW + 3_600_000
    report = concluded(Outcome(facts=[fact(ahead, ahead)], sources=1, arrived=ahead))

    assert (report.newest_event, report.newest_input, report.last_asked) == (NOW, NOW, NOW)


def test_an_input_is_not_newer_than_its_arrival() -> None:
    report = concluded(Outcome(facts=[fact(NOW - 1, NOW - 9)], sources=1, arrived=NOW - 9))

    assert (report.newest_event, report.newest_input) == (NOW - 1, NOW - 9)


def test_the_newest_input_is_what_a_state_took_where_the_facts_do_not_tell() -> None:
    taken = Outcome(sources=1, arrived=NOW - 5, newest_input=NOW - 7)
    # A window that was closed: its time says nothing of the input's.
    closed = Outcome(facts=[fact(NOW - 100, NOW - 5)])

    assert concluded(taken, closed).newest_input == NOW - 7
    assert concluded(closed).newest_input == 0


def test_events_that_are_sent_on_are_input_and_no_facts() -> None:
    sent = Outcome(facts=[fact(-1, -1)], sources=1, arrived=NOW - 5, newest_input=NOW - 7)
    report = concluded(sent, forwards=True)

    assert (report.facts, report.forwarded, report.event_times) == (0, 1, [])
    assert (report.newest_input, report.last_asked) == (NOW - 7, NOW - 5)


@pytest.mark.parametrize(
    ("outcome", "asked"),
    [
        (Outcome(sources=1, arrived=5), 5),
        (Outcome(rejected=[LATE], arrived=5), 5),
        (Outcome(filtered=Counter(left_out=1), arrived=5), 0),
        (Outcome(), 0),
    ],
)
def test_only_what_is_not_filtered_has_asked_for_a_fact(outcome: Outcome, asked: int) -> None:
    assert concluded(outcome).last_asked == asked


class Hearing:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def committed(self, transaction: Committed) -> None:
        self.heard.append(transaction)

    def ended(self, ending: Ending) -> None:
        self.heard.append(ending)

    def state(self, state: WorkerState) -> None:
        self.heard.append(state)

    def progress(self, now: float) -> None:
        self.heard.append(now)

    def taken(self, topic: str, partition: int, offset: int) -> None:
        self.heard.append(("taken", topic, partition, offset))

    def given_up(self, topic: str, partition: int) -> None:
        self.heard.append(("given up", topic, partition))

    def lag(self, topic: str, partition: int, records: int) -> None:
        self.heard.append(("lag", topic, partition, records))

    def restored(self, records: int) -> None:
        self.heard.append(("restored", records))


def test_all_witnesses_are_told_the_same_in_the_same_order() -> None:
    one, other, report = Hearing(), Hearing(), Committed()
    both = Witnesses(one, other)

    both.taken("a", 1, 7)
    both.state(WorkerState.RUNNING)
    both.progress(5.0)
    both.lag("a", 1, 3)
    both.restored(9)
    both.committed(report)
    both.ended(Ending.COMMITTED)
    both.given_up("a", 1)

    assert one.heard == other.heard
    assert one.heard == [
        ("taken", "a", 1, 7), WorkerState.RUNNING, 5.0, ("lag", "a", 1, 3), ("restored", 9),
        report, Ending.COMMITTED, ("given up", "a", 1),
    ]  # fmt: skip
