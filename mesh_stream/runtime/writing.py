"""Committed changes on their way into the stores, in a thread beside the loop.

RocksDB needs no interpreter while it writes: the loop goes on with the next records meanwhile. One
set of changes is on its way at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial

from mesh_stream.errors import PlatformError
from mesh_stream.pipeline.shard import Shard
from mesh_stream.runtime.aside import Aside
from mesh_stream.runtime.store import Position

log = logging.getLogger(__name__)


class Writing:
    """Writes what shards have committed.

    Args:
        product: The product's name, for the log.
    """

    def __init__(self, product: str) -> None:
        self._product = product
        self._aside: Aside | None = None
        self._shards: list[Shard] = []
        self._done: Future[None] | None = None

    def begin(self, shards: Mapping[Shard, Position]) -> None:
        """Have what was frozen, and is committed, written; once what came before is.

        Args:
            shards: Each with where its store then stands.

        Raises:
            PlatformError: As `finish`.
        """
        self.finish()
        for shard in shards:
            shard.committed()
        self._shards = list(shards)
        if self._aside is None:
            self._aside = Aside("store")
        self._done = self._aside.submit(partial(_write, shards))

    def finish(self) -> None:
        """Wait until the stores have it.

        Raises:
            PlatformError: One of them cannot be written.
        """
        done, self._done = self._done, None
        if done is not None:
            done.result()
            for shard in self._shards:
                shard.written()

    def look(self) -> None:
        """Take note of what is written by now, without waiting; raises as `finish`."""
        if self._done is not None and self._done.done():
            self.finish()

    def let_finish(self) -> None:
        """Wait as `finish`; a store that cannot be written stays behind, which harms nothing."""
        try:
            self.finish()
        except PlatformError as error:
            log.warning("%s: %s", self._product, error)


def _write(shards: Mapping[Shard, Position]) -> None:
    for shard, position in shards.items():
        shard.write(position)
