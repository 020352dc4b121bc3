"""Transactions that failed in a row: when to try again, when to give up, when to give way.

A worker whose transactions fail has to do the same again until it passes: nothing may be skipped.
What mends itself is waited for, longer each time; what does not ends the worker.
"""

from __future__ import annotations

import logging
import threading
import time

from mesh_stream.errors import FencedError
from mesh_stream.kafka.client import kafka_error
from mesh_stream.runtime.pace import Pace
from mesh_stream.runtime.transaction import AbortNeededError, ProducerLostError, TransactionError

log = logging.getLogger(__name__)

# Nothing is polled meanwhile: short against `max.poll.interval.ms`.
MAX_WAIT_SECONDS = 5.0
# Two fencings within this time that no slow transaction explains: a second process with our id.
FENCED_AGAIN_SECONDS = 900.0


class Setbacks:
    """The failures since the last commit.

    Args:
        product: The product's name, for messages.
        pace: How long to bear them.
        transaction_seconds: After this long the coordinator ends a transaction by itself.
    """

    def __init__(self, product: str, pace: Pace, transaction_seconds: float) -> None:
        self._product = product
        self._pace = pace
        self._transaction_seconds = transaction_seconds
        self._latest: TransactionError | None = None
        self._borne: TransactionError | None = None
        self._since: float | None = None
        self._wait = 0.0
        self._fenced_at = float("-inf")
        self._usurped: FencedError | None = None

    def __bool__(self) -> bool:
        return any(one is not None for one in (self._since, self._latest, self._usurped))

    def clear(self) -> None:
        """Something was committed."""
        self._since = self._latest = self._borne = None

    def aborted(self, error: AbortNeededError) -> None:
        """A transaction was aborted.

        That the group has moved on is no failure. That it has given us up is none either, but until
        the client hears of it, with the next heartbeat, whatever is read would be aborted as well.
        """
        if not error.regrouped:
            self._latest = error
        if not error.regrouped and not error.expelled:
            self._borne = error

    def lost(self, error: ProducerLostError, *, age: float) -> None:
        """The producer was lost.

        A fenced producer cannot know whether the coordinator ended a transaction that took too long
        or another process started with the same id; only the transaction's age tells. One new
        producer is right where it does not, for our clock may have stood still; a second fencing is
        another process, and two that each made another would fence each other for ever.

        Args:
            error: How.
            age: Seconds that the transaction had been open.
        """
        if not error.fenced:
            self._latest = self._borne = error
        elif age > self._transaction_seconds:
            log.warning(
                "%s: the transaction was open for %.1f s and ended by the coordinator after %.1f s "
                "(`transaction.timeout.ms`); smaller batches follow",
                self._product, age, self._transaction_seconds,
            )  # fmt: skip
            self._latest = self._borne = error
        elif time.monotonic() - self._fenced_at < FENCED_AGAIN_SECONDS:
            self._usurped = FencedError(
                f"{self._product}: fenced twice in {FENCED_AGAIN_SECONDS / 60:.0f} minutes: "
                f"another process runs the same slot; give every process slots of its own "
                f"(`--first-slot`), then start this one again"
            )
        else:
            self._fenced_at = time.monotonic()

    def conclude(self) -> None:
        """The worker stops.

        Raises:
            PlatformError: What it read last could not be committed, and was not tried again.
        """
        if self._borne is not None:
            raise kafka_error(self._borne.error, self._borne.doing) from self._borne

    def give_way(self) -> None:
        """Make no other producer where another process has the slot: it would be fenced in turn.

        Raises:
            FencedError: Another process uses this slot's transactional id.
        """
        if self._usurped is not None:
            raise self._usurped

    def bear(self, stop: threading.Event) -> None:
        """Wait before the next try, if there was a failure, but no longer than until `stop`.

        Raises:
            FencedError: Another process uses this slot's transactional id.
            PlatformError: Patience is at its end.
        """
        self.give_way()
        failure, self._latest = self._latest, None
        if failure is None:
            return
        if isinstance(failure, AbortNeededError) and failure.expelled:
            stop.wait(self._pace.backoff)
            return
        now = time.monotonic()
        if self._since is None:
            self._since, self._wait = now, self._pace.backoff
        elif now - self._since > self._pace.patience:
            raise kafka_error(failure.error, failure.doing) from failure
        else:
            self._wait = min(2 * self._wait, MAX_WAIT_SECONDS)
        stop.wait(self._wait)
