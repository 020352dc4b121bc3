from __future__ import annotations

import threading
import time

import pytest
from confluent_kafka import KafkaError

from mesh_stream.errors import AccessDeniedError, BrokerError, FencedError
from mesh_stream.runtime.pace import Pace
from mesh_stream.runtime.setbacks import Setbacks
from mesh_stream.runtime.transaction import AbortNeededError, ProducerLostError

TRANSACTION_SECONDS = 15.0
FENCED = ProducerLostError("commit the transaction", KafkaError(KafkaError._FENCED))
TOO_LARGE = AbortNeededError("commit the transaction", KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))


def setbacks(*, patience: float = 60.0, backoff: float = 0.01) -> Setbacks:
    return Setbacks("p", Pace(patience=patience, backoff=backoff), TRANSACTION_SECONDS)


def waited(told: Setbacks) -> float:
    before = time.monotonic()
    told.bear(threading.Event())
    return time.monotonic() - before


def test_each_failure_in_a_row_is_waited_for_longer() -> None:
    told = setbacks(backoff=0.05)
    waits = []
    for _ in range(3):
        told.aborted(TOO_LARGE)
        waits.append(waited(told))

    assert waits[0] >= 0.05
    assert waits[1] >= 0.1
    assert waits[2] >= 0.2


def test_a_commit_between_two_failures_starts_the_waits_anew() -> None:
    told = setbacks(backoff=0.05)
    told.aborted(TOO_LARGE)
    told.bear(threading.Event())
    told.clear()
    told.aborted(TOO_LARGE)

    assert waited(told) < 0.1


def test_failures_that_outlast_patience_end_the_worker_with_their_cause() -> None:
    told = setbacks(patience=0.0)
    told.aborted(TOO_LARGE)
    told.bear(threading.Event())
    told.aborted(TOO_LARGE)

    with pytest.raises(BrokerError, match=r"cannot commit the transaction: .*MSG_SIZE_TOO_LARGE"):
        told.bear(threading.Event())


def test_a_refusal_that_outlasts_patience_is_access_denied() -> None:
    told = setbacks(patience=0.0)
    denied = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    told.aborted(AbortNeededError("produce to t", denied))
    told.bear(threading.Event())
    told.aborted(AbortNeededError("produce to t", denied))

    with pytest.raises(AccessDeniedError, match="produce to t"):
        told.bear(threading.Event())


def test_a_stop_ends_a_wait() -> None:
    told = setbacks(backoff=60.0)
    told.aborted(TOO_LARGE)
    stop = threading.Event()
    stop.set()
    before = time.monotonic()
    told.bear(stop)

    assert time.monotonic() - before < 5


@pytest.mark.parametrize("code", [KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS])
def test_a_group_that_moves_on_is_no_failure(code: int) -> None:
    told = setbacks(backoff=60.0)
    told.aborted(AbortNeededError("commit the transaction", KafkaError(code)))

    assert not told
    assert waited(told) < 5


def test_a_worker_that_the_group_has_given_up_waits_until_it_hears_of_it() -> None:
    told = setbacks(patience=0.0, backoff=0.05)
    unknown = KafkaError(KafkaError.UNKNOWN_MEMBER_ID)
    for _ in range(3):
        told.aborted(AbortNeededError("commit the transaction", unknown))
        assert 0.05 <= waited(told) < 2


def test_a_second_fencing_that_no_slow_transaction_explains_is_another_process() -> None:
    told = setbacks()
    told.lost(FENCED, age=0.1)
    told.bear(threading.Event())
    told.clear()
    told.lost(FENCED, age=0.1)

    with pytest.raises(FencedError, match="another process runs the same slot"):
        told.bear(threading.Event())


def test_transactions_that_were_too_slow_are_not_taken_for_another_process() -> None:
    told = setbacks()
    for _ in range(3):
        told.lost(FENCED, age=TRANSACTION_SECONDS + 1)
        told.bear(threading.Event())

    assert told


def test_a_transaction_that_is_always_too_slow_ends_the_worker() -> None:
    told = setbacks(patience=0.0)
    told.lost(FENCED, age=TRANSACTION_SECONDS + 1)
    told.bear(threading.Event())
    told.lost(FENCED, age=TRANSACTION_SECONDS + 1)

    with pytest.raises(BrokerError, match="_FENCED"):
        told.bear(threading.Event())


def test_a_stop_between_failures_is_not_a_stop_with_everything_committed() -> None:
    told = setbacks()
    told.aborted(TOO_LARGE)
    for _ in range(2):
        with pytest.raises(BrokerError, match="MSG_SIZE_TOO_LARGE"):
            told.conclude()
        told.bear(threading.Event())
    told.clear()
    told.conclude()
