from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from mesh_stream.runtime.aside import Aside

DEADLINE = 10.0


def test_calls_are_made_in_their_order_in_one_thread_beside() -> None:
    aside = Aside("beside")
    seen: list[tuple[int, str]] = []

    def call(number: int) -> int:
        seen.append((number, threading.current_thread().name))
        return number

    answers = [aside.submit(lambda n=number: call(n)) for number in range(3)]  # type: ignore[misc]  # mypy knows no defaults of lambdas

    assert [answer.result(DEADLINE) for answer in answers] == [0, 1, 2]
    assert seen == [(number, "beside") for number in range(3)]


def test_what_a_call_raises_is_its_answer_and_the_next_is_made_all_the_same() -> None:
    aside = Aside("beside")
    failing, working = aside.submit(lambda: 1 // 0), aside.submit(lambda: 1)

    with pytest.raises(ZeroDivisionError):
        failing.result(DEADLINE)
    assert working.result(DEADLINE) == 1


def test_a_call_that_never_returns_keeps_no_process_from_ending() -> None:
    program = (
        "import threading; from mesh_stream.runtime.aside import Aside; began = threading.Event();"
        "Aside('x').submit(lambda: (began.set(), threading.Event().wait())); began.wait()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
