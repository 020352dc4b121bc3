"""The producer's side, against a client library that does not keep its word."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from mesh_stream.runtime import transaction
from mesh_stream.runtime.transaction import AbortNeededError, ProducerLostError, Transaction


class Producing:
    """As much of a producer as a commit uses."""

    def __init__(self) -> None:
        self.answer = threading.Event()
        self.failure: KafkaException | None = None
        self.committed = 0

    def begin_transaction(self) -> None: ...

    def send_offsets_to_transaction(self, *_: Any) -> None:
        assert self.answer.wait(60)
        if self.failure is not None:
            raise self.failure

    def commit_transaction(self, *_: Any) -> None:
        self.committed += 1

    def purge(self, **_: Any) -> None: ...


@pytest.fixture
def silent() -> Iterator[Producing]:
    """One that does not answer before it is allowed to."""
    producing = Producing()
    yield producing
    producing.answer.set()


def opened(producing: Producing) -> Transaction:
    made = Transaction({"transaction.timeout.ms": 1_000}, stopping=lambda: False)
    made._producer = producing  # type: ignore[assignment]  # as much of one as is used
    made.begin()
    return made


def test_a_commit_that_is_never_answered_loses_the_producer(
    silent: Producing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "COMMIT_DEADLINE_SECONDS", 0.1)
    lost = opened(silent)
    lost.start_commit([], None)

    with pytest.raises(ProducerLostError, match="_TIMED_OUT: no answer in"):
        lost.finish_commit()

    assert not lost.is_open


def test_an_answer_that_comes_too_late_does_not_touch_the_producer_that_followed(
    silent: Producing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "COMMIT_DEADLINE_SECONDS", 0.1)
    one = opened(silent)
    one.start_commit([], None)
    with pytest.raises(ProducerLostError):
        one.finish_commit()

    following = Producing()
    following.answer.set()
    one._producer = following  # type: ignore[assignment]  # as above
    one.begin()
    silent.failure = KafkaException(KafkaError(KafkaError._FENCED))
    silent.answer.set()
    one.start_commit([], None)
    one.finish_commit()

    assert (following.committed, one.is_open) == (1, False)


def test_a_process_ends_although_a_commit_is_never_answered() -> None:
    code = """
from tests.runtime.test_transaction import Producing, opened
opened(Producing()).start_commit([], None)
"""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    assert time.monotonic() - began < 20


PURGED = KafkaError(KafkaError._PURGE_QUEUE)
TOO_LARGE = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)


@pytest.mark.parametrize("order", [(PURGED, TOO_LARGE), (TOO_LARGE, PURGED), (PURGED,)])
def test_the_reason_is_the_record_that_was_refused_and_not_one_that_went_with_it(
    silent: Producing, order: tuple[KafkaError, ...]
) -> None:
    refused = opened(silent)
    for error in order:
        topic = "facts" if error is PURGED else "letters"
        refused._on_delivery(error, SimpleNamespace(topic=lambda topic=topic: topic))
    silent.failure = KafkaException(
        KafkaError(
            KafkaError.MSG_SIZE_TOO_LARGE,
            "1 message for letters failed",
            txn_requires_abort=True,
        )
    )
    silent.answer.set()
    refused.start_commit([], None)

    with pytest.raises(AbortNeededError, match="MSG_SIZE_TOO_LARGE") as raised:
        refused.finish_commit()

    assert "letters" in str(raised.value)
