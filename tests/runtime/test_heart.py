"""What a worker's heart says and when; on the real broker, `tests/kafka/test_heart.py`."""

from __future__ import annotations

import logging
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from mesh_stream.pipeline.windows import NEVER
from mesh_stream.runtime import heart as room
from mesh_stream.runtime.heart import Heart
from mesh_stream.runtime.report import Committed, WorkerState
from mesh_stream.runtime.status import STATUS_TOPIC, Counts, Status, decode
from tests.deadline import eventually
from tests.pipeline.making import contract, product

WITHIN = 5.0
NOW = 1_800_000_000_000
P, Q = ("raw.orders", 0), ("raw.orders", 1)
GONE = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "gone")


class Producing:
    """A producer that keeps what it is given, and fails as the test says."""

    def __init__(self) -> None:
        self.said: list[Status] = []
        self.refusal: Exception | None = None
        self.fate: KafkaError | None = None
        self._delivered: Callable[[KafkaError | None, Any], None] = lambda *_: None
        self._waiting = 0
        self.flushed = False

    def connect(self, config: dict[str, Any]) -> Producing:
        self._delivered = config["on_delivery"]
        return self

    def produce(self, topic: str, value: bytes, key: bytes, partition: int) -> None:
        if self.refusal is not None:
            raise self.refusal
        assert (topic, key, partition) == (STATUS_TOPIC, b"orders-tested/3", 0)
        self.said.append(decode(value))
        self._waiting += 1

    def poll(self, _seconds: float) -> None:
        waiting, self._waiting = self._waiting, 0
        for _ in range(waiting):
            self._delivered(self.fate, None)

    def flush(self, _seconds: float) -> None:
        self.flushed = True

    @property
    def states(self) -> list[WorkerState]:
        return [status.state for status in self.said]


@pytest.fixture
def producing(monkeypatch: pytest.MonkeyPatch) -> Producing:
    made = Producing()
    monkeypatch.setattr(room, "Producer", made.connect)
    return made


@pytest.fixture
def heart() -> Heart:
    return Heart(product(contract(id="string")), slot=3, metrics="127.0.0.1:9403", config={})


def beating(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(room, "BEAT_SECONDS", seconds)


# What it says


def test_it_says_what_the_worker_has_committed(heart: Heart) -> None:
    heart.taken(*P, 5)
    heart.taken(*Q, 0)
    for number in range(2):
        heart.committed(
            Committed(
                consumed=Counter({"raw.orders": 10}),
                sources=6,
                facts=7,
                filtered=Counter({"left_out": 3}),
                rejected=Counter({("payload", "malformed"): 1}),
                positions={P: 15 + number},
                watermarks={P: 77, Q: NEVER},
                newest_event=NOW - number,
                newest_input=NOW - 5 - number,
                last_asked=NOW - 3 - number,
            )
        )
    heart.state(WorkerState.RUNNING)
    heart.progress(NOW / 1000)
    said = heart.status()

    assert (said.product, said.version, said.slot) == ("orders-tested", "1.2.0", 3)
    assert (said.state, said.progressed, said.metrics) == ("running", NOW, "127.0.0.1:9403")
    assert said.counts == Counts(consumed=20, sources=12, facts=14, filtered=6, rejected=2)
    assert said.positions == {"raw.orders:0": 16, "raw.orders:1": 0}
    assert said.watermarks == {"0": 77}
    assert (said.newest_event, said.newest_input, said.last_asked) == (NOW, NOW - 5, NOW - 3)
    assert said.at >= said.began > 0


def test_of_a_partition_that_was_given_up_it_says_nothing_any_more(heart: Heart) -> None:
    heart.taken(*P, 5)
    heart.taken(*Q, 6)
    heart.committed(Committed(positions={Q: 7}, watermarks={Q: 1}))
    heart.given_up(*Q)
    # Told when the end of a transaction was not known until then.
    heart.committed(Committed(positions={P: 6, Q: 8}, watermarks={Q: 2}))

    assert (heart.status().positions, heart.status().watermarks) == ({"raw.orders:0": 6}, {})


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "::"])
def test_metrics_on_every_address_are_told_by_the_machines_name(host: str) -> None:
    heart = Heart(product(contract(id="string")), slot=0, metrics=f"{host}:9400", config={})

    assert heart.status().metrics == f"{socket.gethostname()}:9400"


@pytest.mark.parametrize("address", ["", "127.0.0.1:9400", "worker-1:9400", "[::1]:9400"])
def test_any_other_address_is_told_as_it_is(address: str) -> None:
    heart = Heart(product(contract(id="string")), slot=0, metrics=address, config={})

    assert heart.status().metrics == address


# When


def test_it_beats_while_nothing_happens(
    heart: Heart, producing: Producing, monkeypatch: pytest.MonkeyPatch
) -> None:
    beating(monkeypatch, 0.01)
    with heart:
        eventually(lambda: len(producing.said) > 3, within=WITHIN, what="beats")

    assert {status.progressed for status in producing.said} == {0}
    assert producing.said[0].at < producing.said[-1].at


def test_a_change_of_state_is_said_at_once(
    heart: Heart, producing: Producing, monkeypatch: pytest.MonkeyPatch
) -> None:
    beating(monkeypatch, 3600)
    with heart:
        for state in (WorkerState.RUNNING, WorkerState.PAUSED, WorkerState.STOPPING):
            heart.state(state)
            eventually(lambda: producing.states[-1:] == [state], within=WITHIN, what=state)  # noqa: B023
        heart.state(WorkerState.STOPPING)

    assert producing.states[-2:] == [WorkerState.STOPPING, WorkerState.STOPPED]
    assert producing.flushed


def test_one_that_fails_does_not_say_that_it_stopped(
    heart: Heart, producing: Producing, monkeypatch: pytest.MonkeyPatch
) -> None:
    beating(monkeypatch, 0.01)
    heart.state(WorkerState.RUNNING)
    with pytest.raises(RuntimeError), heart:
        raise RuntimeError

    heart._thread.join(WITHIN)
    assert not heart._thread.is_alive()
    assert WorkerState.STOPPED not in producing.states


# Where it cannot


@pytest.mark.parametrize("refused", [True, False])
def test_what_cannot_be_told_is_one_warning_and_told_again_when_it_can(
    heart: Heart,
    producing: Producing,
    refused: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    beating(monkeypatch, 0.01)
    polls = 0

    def poll(seconds: float) -> None:
        nonlocal polls
        polls += 1
        Producing.poll(producing, seconds)

    monkeypatch.setattr(producing, "poll", poll)
    producing.refusal = KafkaException(GONE) if refused else None
    producing.fate = None if refused else GONE
    with heart:
        eventually(lambda: polls > 5, within=WITHIN, what="beats that nobody hears")
        producing.refusal = producing.fate = None
        before = polls
        eventually(lambda: polls > before + 5, within=WITHIN, what="beats that are heard")

    first, second = caplog.records
    assert (first.levelname, second.levelname) == ("WARNING", "INFO")
    assert "orders-tested: cannot tell its status on mesh.status: gone" in first.getMessage()
    assert "`mesh-stream apply` provides the topic" in first.getMessage()
    assert "told on mesh.status again" in second.getMessage()


def test_a_queue_that_is_full_is_nothing_to_speak_of(
    heart: Heart,
    producing: Producing,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    beating(monkeypatch, 0.01)
    producing.refusal = BufferError()
    with heart:
        producing.refusal = None
        eventually(lambda: producing.said, within=WITHIN, what="a beat")

    assert caplog.records == []


def test_settings_that_the_client_does_not_take_do_not_end_the_worker(
    heart: Heart, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_config: object) -> None:
        raise KafkaException(KafkaError(KafkaError._INVALID_ARG, "no such setting"))

    monkeypatch.setattr(room, "Producer", refuse)
    with heart:
        heart.state(WorkerState.RUNNING)
        heart._thread.join(WITHIN)

    (warning,) = caplog.records
    assert "no such setting" in warning.getMessage()
