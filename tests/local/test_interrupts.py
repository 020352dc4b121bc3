from __future__ import annotations

import os
import signal

import pytest

from mesh_stream.local.interrupts import Interrupts

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_asks_and_the_next_hurries(number: int) -> None:
    interrupts, hurried = Interrupts(), []
    interrupts.hurry.append(lambda: hurried.append(1))
    with interrupts.heard():
        send(number)
        assert interrupts.requested.is_set()
        assert hurried == []
        send(number)
        send(signal.SIGTERM)
    assert hurried == [1, 1]


def test_an_exception_comes_only_where_it_may() -> None:
    interrupts = Interrupts()
    with interrupts.heard():
        with pytest.raises(KeyboardInterrupt), interrupts.abruptly():
            send(signal.SIGTERM)
        assert interrupts.requested.is_set()
        with interrupts.abruptly():
            send(signal.SIGTERM)


def test_a_signal_after_the_abrupt_part_only_asks() -> None:
    interrupts = Interrupts()
    with interrupts.heard():
        with interrupts.abruptly():
            pass
        send(signal.SIGINT)
        assert interrupts.requested.is_set()


def test_afterwards_signals_mean_what_they_meant() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interrupts().heard():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before
