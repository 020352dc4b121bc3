"""Waiting in tests: for a fact, at most so long, and saying what did not come true."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

POLL_SECONDS = 0.02
RESTS = 3
"""It rests this many times as long as asking took: a broker that is asked has work to do."""
MOST_SECONDS = 0.5
"""But never longer than this."""


def eventually(condition: Callable[[], Found], *, within: float, what: str) -> Found:
    """The condition's first true result, asked for again and again for `within` seconds.

    Raises:
        AssertionError: It never was true; `what` says what was waited for.
    """
    deadline = time.monotonic() + within
    while True:
        asked = time.monotonic()
        if found := condition():
            return found
        now = time.monotonic()
        if now > deadline:
            raise AssertionError(f"not within {within:g} s: {what}; last seen: {found!r}")
        threading.Event().wait(min(max(POLL_SECONDS, RESTS * (now - asked)), MOST_SECONDS))
