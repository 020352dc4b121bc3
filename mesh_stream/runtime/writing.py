"""Committed changes on their way into the stores, in a thread beside the loop.

RocksDB needs no interpreter while it writes: the loop goes on with the next records meanwhile. And
it is not asked for each transaction: of a state that changes often only the newest is written, half
a minute later. A crash loses what waits, and no more than it would lose anyway: RocksDB, too, keeps
what it was given in memory for a while (`store.py`), and the changelog has it all.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial

from mesh_stream.errors import PlatformError
from mesh_stream.pipeline.shard import Shard
from mesh_stream.runtime.aside import Aside
from mesh_stream.runtime.store import Position

log = logging.getLogger(__name__)

WAIT_SECONDS = 30.0
"""How long what is committed waits for the store, where there is room for it."""


class Writing:
    """Writes what shards have committed.

    Args:
        product: The product's name, for the log.
        wait: Seconds that what is committed may wait.
    """

    def __init__(self, product: str, *, wait: float = WAIT_SECONDS) -> None:
        self._product = product
        self._wait = wait
        self._aside: Aside | None = None
        self._waiting: dict[Shard, Position] = {}
        self._since = 0.0
        self._leaving: dict[Shard, Position] = {}
        self._done: Future[None] | None = None

    def add(self, shards: Mapping[Shard, Position]) -> None:
        """What was frozen is committed, and to be written: now, if it is time or much waits.

        Args:
            shards: Each with where its store stands once it has that.

        Raises:
            PlatformError: As `finish`.
        """
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.update(shards)
        for shard in shards:
            shard.committed()
        if self._is_time() or any(shard.is_full for shard in shards):
            self._settle()
            self._begin()

    def finish(self) -> None:
        """Have all of it written, and wait until it is.

        Raises:
            PlatformError: One of the stores cannot be written.
        """
        self._settle()
        self._begin()
        self._settle()

    def look(self) -> None:
        """See to what is due by now, without waiting; raises as `finish`."""
        if self._done is not None and self._done.done():
            self._settle()
        if self._done is None and self._is_time():
            self._begin()

    def let_finish(self) -> None:
        """Do as `finish`; a store that cannot be written stays behind, which harms nothing."""
        try:
            self.finish()
        except PlatformError as error:
            log.warning("%s: %s", self._product, error)

    def _is_time(self) -> bool:
        return bool(self._waiting) and time.monotonic() - self._since >= self._wait

    def _begin(self) -> None:
        """Put what waits on its way; nothing else is."""
        if not self._waiting:
            return
        self._leaving, self._waiting = self._waiting, {}
        for shard in self._leaving:
            shard.leave()
        if self._aside is None:
            self._aside = Aside("store")
        self._done = self._aside.submit(partial(_write, self._leaving))

    def _settle(self) -> None:
        """Wait for what is on its way."""
        done, self._done = self._done, None
        if done is not None:
            done.result()
            for shard in self._leaving:
                shard.written()


def _write(shards: Mapping[Shard, Position]) -> None:
    for shard, position in shards.items():
        shard.write(position)
