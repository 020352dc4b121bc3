"""Waiting in tests: for a fact, at most so long, and saying what did not come true."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

POLL_SECONDS = 0.02


def eventually(condition: Callable[[], Found], *, within: float, what: str) -> Found:
    """The condition's first true result, asked for again and again for `within` seconds.

    Raises:
        AssertionError: It never was true; `what` says what was waited for.
    """
    deadline = time.monotonic() + within
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what}; last seen: {found!r}")
        threading.Event().wait(POLL_SECONDS)
    return found
