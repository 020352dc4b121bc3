"""Ctrl-C, SIGTERM and SIGHUP for a command that has much to put away before it ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """The first signal asks for an end; every further one hurries it.

    Nothing is ever torn out of its course by a signal, so that what was started is always put away;
    except where the caller says that an exception may come (`abruptly`).

    Attributes:
        requested: Set by the first signal.
        hurry: What a further signal calls.
    """

    def __init__(self) -> None:
        self.requested = threading.Event()
        self.hurry: list[Callable[[], object]] = []
        self._abrupt = False

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listen, until the block ends; only in the main thread."""
        before = {number: signal.signal(number, self._heard) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def abruptly(self) -> Iterator[None]:
        """Within the block, the first signal raises `KeyboardInterrupt`.

        For long calls that put away themselves what they had begun.
        """
        self._abrupt = True
        try:
            yield
        finally:
            self._abrupt = False

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested.is_set():
            for call in self.hurry:
                call()
            return
        self.requested.set()
        if self._abrupt:
            raise KeyboardInterrupt
