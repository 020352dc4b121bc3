"""What one worker knows of the sources it reads: how far each has come, and which are silent.

Only of a product whose events go through its own topic: there, other workers have to be told. What
is known of a source is committed with its offset, as a note, so that whoever reads on knows it too;
and a note that is missing, or another topic's, tells that somebody else set the offset.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import msgspec

from mesh_stream.errors import StateLostError
from mesh_stream.pipeline.events import Notice, source_of
from mesh_stream.pipeline.notes import source_note, source_of_note
from mesh_stream.pipeline.sinks import Forward
from mesh_stream.pipeline.windows import NEVER
from mesh_stream.runtime.partitions import Partition, Partitions
from mesh_stream.runtime.transaction import Transaction

_TELL_SECONDS = 0.1
# Sources are looked at twice a second. A worker that has not for so long, and for half the time
# that makes a source idle, stood still itself.
_STALL_SECONDS = 2.0


class Sources:
    """The sources of one worker.

    Args:
        product: The product's name, for messages.
        forwards: Input topic -> what sends its events on, and keeps how far they have come.
        ids: Topic -> its id on the broker: one made anew has another.
        idle: How long a source may bring nothing until it no longer holds others back; seconds.
    """

    def __init__(
        self, product: str, forwards: Mapping[str, Forward], ids: Mapping[str, str], idle: float
    ) -> None:
        self._product = product
        self._forwards = forwards
        self._ids = ids
        self._idle = idle
        self._heard: dict[Partition, float] = {}
        self._told = Notice({})
        self._told_at = 0.0
        self._looked_at = time.monotonic()

    def take(self, partition: Partition) -> None:
        """A partition is ours."""
        self._heard[partition] = time.monotonic()

    def give_up(self, partition: Partition) -> None:
        """It is not any more."""
        self._heard.pop(partition, None)
        if (forward := self._forwards.get(partition[0])) is not None:
            forward.highest.pop(source_of(*partition), None)

    def heard(self, partitions: Iterable[Partition]) -> None:
        """Records of these partitions have come."""
        self._heard.update(dict.fromkeys(partitions, time.monotonic()))

    def recall(self, partition: Partition, offset: int | None, note: str) -> None:
        """Go back to how far a source had come when its offset was committed.

        Args:
            partition: The source.
            offset: That offset; None where there is none.
            note: What is noted with it.

        Raises:
            StateLostError: The note is not one of `notes`, or of another topic.
        """
        topic, number = partition
        if (forward := self._forwards.get(topic)) is None:
            return
        forward.highest.pop(source_of(topic, number), None)
        if offset is None:
            return
        noted = source_of_note(note)
        if noted is None:
            found = (
                f"the group's offset of {topic}[{number}], {offset}, was set by hand: events would "
                f"be counted again, or never"
            )
            raise StateLostError(self._product, [found])
        topic_id, highest = noted
        if topic_id != self._ids[topic]:
            found = f"{topic} was created anew since its events were counted"
            raise StateLostError(self._product, [found])
        forward.highest[source_of(topic, number)] = highest

    def notes(self) -> dict[Partition, str]:
        """What is committed with the sources' offsets: topic id, and highest event time."""
        return {
            (topic, number): source_note(self._ids[topic], forward.highest.get(source, NEVER))
            for topic, number in self._heard
            if (forward := self._forwards.get(topic)) is not None
            and (source := source_of(topic, number))
        }

    # What others are told

    def has_news(self, partitions: Partitions) -> bool:
        """Whether other workers wait to be told how far our sources have come."""
        return bool(self._forwards) and self._progress(partitions) != self._told

    def tell(
        self, transaction: Transaction, topic: str, width: int, partitions: Partitions
    ) -> None:
        """Tell every partition of the product's own topic, if there is news and it is time.

        Raises:
            TransactionError: The transaction is of no more use.
        """
        now = time.monotonic()
        if not self._forwards or now - self._told_at < _TELL_SECONDS:
            return
        progress = self._progress(partitions)
        if progress == self._told:
            return
        encoded = msgspec.json.encode(progress)
        for number in range(width):
            transaction.tell(topic, number, encoded)
        self._told, self._told_at = progress, now

    def untell(self) -> None:
        """What was told last is not committed, or perhaps not."""
        self._told = Notice({})

    def _progress(self, partitions: Partitions) -> Notice:
        highest: dict[str, int] = {}
        for forward in self._forwards.values():
            highest |= {source: at for source, at in forward.highest.items() if at > NEVER}
        now = time.monotonic()
        if now - self._looked_at > max(_STALL_SECONDS, self._idle / 2):
            # What came meanwhile may not even be fetched yet.
            self._heard = dict.fromkeys(self._heard, now)
        self._looked_at = now
        silence = now - self._idle
        idle = [
            source_of(*partition)
            for partition, heard in self._heard.items()
            if partition[0] in self._forwards and heard < silence and partitions.lag(partition) == 0
        ]
        return Notice(highest, tuple(sorted(idle)))
