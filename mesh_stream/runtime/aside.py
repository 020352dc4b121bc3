"""A thread beside the loop, for what waits for somebody else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

_T = TypeVar("_T")


class Aside:
    """Calls functions in a thread of its own, which does not outlive the process.

    That is what it has over an executor: a call that never returns keeps no process from ending.

    Args:
        name: The thread's.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, call: Callable[[], _T]) -> Future[_T]:
        """Have something called, after what was submitted before."""
        answer: Future[_T] = Future()
        self._calls.put((answer, call))
        return answer

    def _run(self) -> None:
        while True:
            answer, call = self._calls.get()
            try:
                answer.set_result(call())
            except Exception as error:  # noqa: BLE001 - whoever waits for the answer gets it
                answer.set_exception(error)
            del answer, call
