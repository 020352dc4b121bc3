"""What workers say of themselves, read from `mesh.status` by somebody who watches it.

Whoever may write to the topic may write anything: what is no status is passed over, and none of its
moments lies after the record that it came in.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from mesh_stream.kafka.extent import Layout
from mesh_stream.kafka.groups import Partition
from mesh_stream.kafka.reader import Reader
from mesh_stream.pipeline.encode import arrival
from mesh_stream.pipeline.record import Message
from mesh_stream.runtime.status import STATUS_TOPIC, Status, decode
from mesh_stream.settings import Settings

log = logging.getLogger(__name__)

MAX_SLOTS = 256
"""Slots of one product that are believed: as many as `run --slots` admits."""
_GLANCE_SECONDS = 0.02

NONE: Final[Mapping[int, Status]] = {}


class Statuses:
    """The newest status of every slot; `close` it.

    Args:
        settings: Where the broker is.
        products: Names of the products that are looked for.
        client_id: Names it in the broker's logs.
    """

    def __init__(self, settings: Settings, products: Iterable[str], *, client_id: str) -> None:
        self._settings = settings
        self._client_id = client_id
        self._known: dict[str, dict[int, Status]] = {name: {} for name in products}
        self._reader: Reader | None = None
        self._layout: Layout | None = None

    def close(self) -> None:
        """Let go of the connections."""
        if self._reader is not None:
            self._reader.close()
        self._reader = None

    def of(self, product: str) -> Mapping[int, Status]:
        """Slot -> its newest status."""
        return self._known[product].copy()

    def read(
        self,
        layout: Layout | None,
        begins: Mapping[Partition, int],
        ends: Mapping[Partition, int],
        *,
        deadline: float,
    ) -> bool:
        """Read what has come; returns whether all of it was.

        Args:
            layout: The topic's; None where there is no such topic. A topic that was made anew, or
                has got partitions, is read from its beginning.
            begins: The first offset of its partitions.
            ends: The one after the last.
            deadline: When to give up (monotonic seconds).

        Raises:
            PlatformError: It cannot be read.
        """
        if layout is None:
            return True
        starts = {
            (STATUS_TOPIC, n): begins.get((STATUS_TOPIC, n)) for n in range(layout.partitions)
        }
        if layout != self._layout:
            known = {partition: begin for partition, begin in starts.items() if begin is not None}
            if len(known) < len(starts):
                return False
            self._begin(layout, known)
        wanted = {at: end for at, end in ends.items() if at in starts}
        assert self._reader is not None
        while not self._reader.has_reached(wanted):
            if time.monotonic() > deadline:
                return False
            for message in self._reader.poll(_GLANCE_SECONDS):
                self._take(message)
        return len(wanted) == len(starts)

    def forget_connection(self) -> None:
        """Begin anew next time: reading has failed."""
        self.close()
        self._layout = None

    def _begin(self, layout: Layout, starts: Mapping[Partition, int]) -> None:
        if self._layout is not None and layout.id != self._layout.id:
            for slots in self._known.values():
                slots.clear()
        if self._reader is None:
            self._reader = Reader(self._settings, client_id=self._client_id)
        self._reader.start(starts)
        self._layout = layout

    def _take(self, message: Message) -> None:
        key = (message.key() or b"").decode(errors="replace")
        product, _, number = key.rpartition("/")
        slots = self._known.get(product)
        if slots is None or not (number.isascii() and number.isdecimal() and len(number) < 10):
            return
        slot, value = int(number), message.value()
        if value is None:
            slots.pop(slot, None)
            return
        try:
            status = decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            log.debug("%s@%s is no status", STATUS_TOPIC, message.offset())
            return
        if (status.product, status.slot) != (product, slot):
            return
        if slot in slots or len(slots) < MAX_SLOTS:
            slots[slot] = _bounded(status, arrival(message))


def _bounded(status: Status, written: int) -> Status:
    """The status without moments that lie after it was written."""
    latest = min(status.at, written, time.time_ns() // 1_000_000)
    names = ("at", "began", "progressed", "newest_event", "newest_input", "last_asked")
    return msgspec.structs.replace(
        status, **{name: max(0, min(getattr(status, name), latest)) for name in names}
    )
