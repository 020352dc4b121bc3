"""The ledger: a transaction is told of when its end is known, and by what is known of it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, TopicPartition

from mesh_stream.pipeline.record import Fact, Outcome
from mesh_stream.runtime import ledger as room
from mesh_stream.runtime.ledger import Ledger
from mesh_stream.runtime.report import Committed, Ending, WorkerState
from mesh_stream.runtime.transaction import AbortNeededError, ProducerLostError, TransactionError

P = ("raw.orders", 0)
ABORT = AbortNeededError("commit", KafkaError(KafkaError.ILLEGAL_GENERATION))
LOST = ProducerLostError("commit", KafkaError(KafkaError._TIMED_OUT))


class Producing:
    """The producer's side, whose next commit ends as the test says, and that notes its calls."""

    def __init__(self) -> None:
        self.failure: TransactionError | None = None
        self.calls: list[str] = []
        self.is_answered = False

    def begin(self) -> None:
        self.calls.append("begin")

    def start_commit(self, offsets: list[TopicPartition], group_metadata: object) -> None:
        self.calls.append(f"commit {offsets[0].offset} as {group_metadata}")

    def finish_commit(self) -> None:
        if self.failure is not None:
            raise self.failure

    def abort(self) -> None:
        self.calls.append("abort")


class Told:
    """A witness that keeps what it is told."""

    def __init__(self) -> None:
        self.transactions: list[Committed] = []
        self.endings: list[Ending] = []

    def committed(self, transaction: Committed) -> None:
        self.transactions.append(transaction)

    def ended(self, ending: Ending) -> None:
        self.endings.append(ending)

    def state(self, state: WorkerState) -> None: ...
    def progress(self, now: float) -> None: ...
    def taken(self, topic: str, partition: int, offset: int) -> None: ...
    def given_up(self, topic: str, partition: int) -> None: ...
    def lag(self, topic: str, partition: int, records: int) -> None: ...


@pytest.fixture
def producing() -> Producing:
    return Producing()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def ledger(producing: Producing, told: Told) -> Ledger:
    return Ledger(producing, told)  # type: ignore[arg-type]  # as much of a producer as is used


def started(ledger: Ledger, *, offset: int = 7) -> Ledger:
    """One transaction of three records, being committed."""
    ledger.begin("member")
    ledger.add(P[0], Outcome(consumed=3))
    ledger.start_commit([TopicPartition(*P, offset)])
    return ledger


def test_a_commit_is_told_when_it_is_settled_and_not_before(ledger: Ledger, told: Told) -> None:
    started(ledger)
    assert told.transactions == []

    assert ledger.settle()

    assert [one.consumed[P[0]] for one in told.transactions] == [3]
    assert told.endings == [Ending.COMMITTED]


def test_it_is_told_with_what_it_committed_and_dated_by_its_end(
    ledger: Ledger, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = Fact(b"", None, 9_000, 8_000)
    ledger.begin("member")
    ledger.add(P[0], Outcome(consumed=1, sources=1, facts=[ahead], arrived=8_000))
    ledger.start_commit([TopicPartition(*P, 7)], {P: 55})
    monkeypatch.setattr(room, "time", SimpleNamespace(time_ns=lambda: 5e9, monotonic=lambda: 1.0))

    ledger.settle()

    (report,) = told.transactions
    assert (report.positions, report.watermarks) == ({P: 7}, {P: 55})
    assert (report.at, report.newest_event, report.newest_input) == (5_000, 5_000, 5_000)
    assert (report.event_times, report.arrivals) == ([9_000], [8_000])


def test_it_is_settled_once(ledger: Ledger, told: Told) -> None:
    started(ledger).settle()

    assert not ledger.settle()
    assert told.endings == [Ending.COMMITTED]


def test_it_counts_as_under_way_until_it_is_settled(ledger: Ledger) -> None:
    assert not ledger
    started(ledger)
    assert ledger.open is None
    assert ledger
    ledger.settle()
    assert not ledger


def test_a_transaction_keeps_the_membership_that_it_began_with(
    ledger: Ledger, producing: Producing
) -> None:
    ledger.begin("member")
    ledger.begin("a later one")
    ledger.start_commit([TopicPartition(*P, 7)])

    assert producing.calls == ["begin", "commit 7 as member"]


def test_one_that_was_not_committed_is_open_again_and_can_be_aborted(
    ledger: Ledger, producing: Producing, told: Told
) -> None:
    producing.failure = ABORT

    with pytest.raises(AbortNeededError):
        started(ledger).settle()
    ledger.abandon(Ending.ABORTED)

    assert producing.calls[-1] == "abort"
    assert told.endings == [Ending.ABORTED]
    assert told.transactions == []
    assert not ledger


@pytest.mark.parametrize(
    ("committed", "ending"),
    [
        ({P: 7}, [Ending.COMMITTED]),
        ({P: 4}, [Ending.ABORTED]),
        ({P: None}, [Ending.ABORTED]),
        ({("raw.orders", 1): 7}, [Ending.ABORTED]),
    ],
)
def test_the_committed_offsets_tell_how_one_of_unknown_end_ended(
    ledger: Ledger,
    producing: Producing,
    told: Told,
    committed: dict[tuple[str, int], int | None],
    ending: list[Ending],
) -> None:
    producing.failure = LOST
    with pytest.raises(ProducerLostError):
        started(ledger, offset=7).settle()
    assert told.endings == []

    ledger.resolve(committed, {})
    ledger.resolve(committed, {})

    assert told.endings == ending
    assert len(told.transactions) == ending.count(Ending.COMMITTED)


def test_how_it_ended_is_not_told_by_who_lost_its_partitions(
    ledger: Ledger, producing: Producing, told: Told
) -> None:
    producing.failure = LOST
    with pytest.raises(ProducerLostError):
        started(ledger).settle()

    ledger.resolve({}, {})
    ledger.resolve({P: 7}, {})

    assert told.endings == []


def test_losing_the_producer_ends_what_is_open_and_says_how_long_it_was(
    ledger: Ledger, told: Told
) -> None:
    assert ledger.lose() == 0.0
    ledger.begin("member")
    assert ledger.open is not None
    ledger.open.began -= 20

    assert 20 <= ledger.lose() < 30

    assert told.endings == [Ending.ABORTED]
    assert not ledger


def test_the_age_of_one_of_unknown_end_counts_too(ledger: Ledger, producing: Producing) -> None:
    producing.failure = LOST
    ledger.begin("member")
    assert ledger.open is not None
    ledger.open.began -= 20
    ledger.start_commit([TopicPartition(*P, 7)])
    with pytest.raises(ProducerLostError):
        ledger.settle()

    assert 20 <= ledger.lose() < 30


TURN = [(P[0], Outcome(consumed=1))]


def test_what_waits_begins_the_next_transaction_with_the_membership_it_was_read_in(
    ledger: Ledger, producing: Producing
) -> None:
    started(ledger)
    lacking = [ledger.lacks_membership]
    ledger.wait(TURN, "second")
    lacking.append(ledger.lacks_membership)
    assert lacking == [True, False]
    ledger.wait(TURN, None)
    ledger.settle()

    assert ledger.waited() == TURN * 2
    assert ledger.waited() == []

    ledger.start_commit([TopicPartition(*P, 9)])
    assert producing.calls == ["begin", "commit 7 as member", "begin", "commit 9 as second"]


def test_what_waits_goes_on_in_the_group_s_new_generation(
    ledger: Ledger, producing: Producing
) -> None:
    started(ledger)
    ledger.renew(lambda: pytest.fail("nothing goes on"))
    ledger.wait(TURN, "second")
    ledger.renew(lambda: "third")
    ledger.settle()
    ledger.waited()
    ledger.start_commit([TopicPartition(*P, 9)])

    assert producing.calls[-1] == "commit 9 as third"


def test_only_a_few_turns_wait_and_only_for_a_commit_that_is_not_answered(
    ledger: Ledger, producing: Producing
) -> None:
    ledger.wait(TURN, "first")
    assert not ledger.can_wait
    ledger.waited()
    ledger.start_commit([TopicPartition(*P, 7)])
    able = []
    for _ in range(room.MOST_TURNS + 1):
        able.append(ledger.can_wait)
        ledger.wait(TURN, "second")
    assert able == [True] * room.MOST_TURNS + [False]
    ledger.settle()
    ledger.waited()
    ledger.start_commit([TopicPartition(*P, 9)])
    producing.is_answered = True
    assert not ledger.can_wait


@pytest.mark.parametrize("failure", [ABORT, LOST])
def test_what_waits_for_a_commit_that_fails_is_forgotten(
    ledger: Ledger, producing: Producing, failure: TransactionError
) -> None:
    producing.failure = failure
    started(ledger).wait(TURN, "second")
    with pytest.raises(type(failure)):
        ledger.settle()

    # Whoever settles again before it steps back must not produce into what has failed.
    assert not ledger.settle()
    assert ledger.waited() == []
    assert producing.calls == ["begin", "commit 7 as member"]


@pytest.mark.parametrize("how", [lambda ledger: ledger.abandon(Ending.ABORTED), Ledger.lose])
def test_what_waits_is_forgotten_where_its_records_are_read_again(
    ledger: Ledger, how: Callable[[Ledger], object]
) -> None:
    started(ledger).wait(TURN, "second")
    how(ledger)

    assert ledger.waited() == []
    assert ledger.lacks_membership
