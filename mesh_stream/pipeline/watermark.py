"""How far event time has come, by each source and by all of them together.

A source is one input partition, `topic:partition`; events of one source come in its order, those of
several in any. A source that is silent for long is *idle*: it no longer holds the others back, and
what it brings after that may be late. The watermark never goes back.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from mesh_stream.pipeline.windows import NEVER


def topic_of(source: str) -> str:
    """The topic of a source."""
    return source.rpartition(":")[0]


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """A watermark as it is kept between two transactions.

    Attributes:
        highest: Source -> the highest event time it has brought.
        idle: Sources that hold nobody back.
        value: The watermark.
    """

    highest: dict[str, int] = {}
    idle: tuple[str, ...] = ()
    value: int = NEVER


class Watermark:
    """The watermark of one state partition.

    Args:
        sources: All that may bring events; one that has brought none holds the watermark back. A
            partition that their topics have got since is one as soon as it has brought something.
        progress: Where it was.
    """

    def __init__(self, sources: Iterable[str], progress: Progress) -> None:
        self._sources = set(sources)
        self._topics = {topic_of(source) for source in self._sources}
        self.restore(progress)

    def restore(self, progress: Progress) -> None:
        """Go back to where it was."""
        self.highest = dict(progress.highest)
        for source in self.highest:
            self._join(source)
        self._idle = set(progress.idle)
        self.value = progress.value

    def progress(self) -> Progress:
        """Where it is."""
        return Progress(dict(self.highest), tuple(sorted(self._idle)), self.value)

    def reached(self, source: str, at: int) -> None:
        """A source has brought an event of this time, or says that it has."""
        if at > self.highest.get(source, NEVER):
            if source not in self.highest:
                self._join(source)
            self.highest[source] = at
        self._idle.discard(source)

    def _join(self, source: str) -> None:
        # Of a topic that is no input any more nothing is waited for.
        if topic_of(source) in self._topics:
            self._sources.add(source)

    def fell_silent(self, source: str) -> None:
        """A source has brought nothing for long."""
        self._idle.add(source)

    def advance(self) -> int:
        """Move to the lowest of all sources that are not idle; returns where that is."""
        waited_for = self._sources - self._idle
        if waited_for:
            lowest = min(self.highest.get(source, NEVER) for source in waited_for)
            self.value = max(self.value, lowest)
        return self.value
