"""The monitor: looks at every product again and again, judges, and counts minutes.

It is a process of its own, so that a product whose workers are dead is still judged. A verdict is
made when it is asked for, from what was seen last: a monitor that stops looking, for whatever
reason, says `unknown` by itself.

Minutes end where the clock's do. One is bad as soon as its product is found stale in it, so that
nobody waits for its end to be paged; else it is what the product is at its end. So two monitors
count the same minutes, and agree on them as far as they have looked at the same time. A minute that
ended while the monitor stood still, or before it had looked once, is nobody's: not good, not bad,
not counted.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from mesh_stream.freshness.lookout import LONGEST_LOOK_SECONDS, Lookout
from mesh_stream.freshness.reading import Reading
from mesh_stream.freshness.sli import Blame, State, Verdict, judge
from mesh_stream.pipeline.avro_input import WriterSchemas
from mesh_stream.product.product import Product
from mesh_stream.settings import Settings

log = logging.getLogger(__name__)

MINUTE_SECONDS = 60.0
LOOKS_A_MINUTE = 5
"""At least; and one a second."""
_SHORTEST_PAUSE_SECONDS = 0.1
_STOP_SECONDS = 8.0


@dataclass(slots=True)
class Minutes:
    """What has become of the minutes of one product since the monitor began.

    Attributes:
        good: Those in which its output was up to date.
        bad: The others, by whose they are.
    """

    good: int = 0
    bad: Counter[Blame] = field(default_factory=lambda: Counter(dict.fromkeys(Blame, 0)))

    @property
    def total(self) -> int:
        """All that were counted."""
        return self.good + self.bad.total()


class Monitor:
    """Looks, judges and counts; `run` it, or call `look` for a single time.

    Args:
        products: What is watched.
        settings: Where the broker is.
        schemas: Finds the schemas that Avro records were written with, without waiting for long.
        minute: Seconds of a minute; other than 60 only for rehearsals.

    Attributes:
        minutes: Product -> its minutes.
        on_look: Called after each look, in the looking thread, with every product's reading: for
            whoever keeps a history.
        looked: When the last look ended (monotonic seconds).
    """

    def __init__(
        self,
        products: Iterable[Product],
        settings: Settings,
        schemas: WriterSchemas,
        *,
        minute: float = MINUTE_SECONDS,
    ) -> None:
        self.minute = minute
        # What a look finds is as old as the look took: also the longest must be of use.
        self.believed_for = max(minute, LONGEST_LOOK_SECONDS)
        self.lookout = Lookout(products, settings, schemas)
        self.minutes = {name: Minutes() for name in self.lookout.watched}
        self.on_look: list[Callable[[Mapping[str, Reading]], object]] = []
        self.looked = time.monotonic()
        self._stop = threading.Event()
        self._has_looked = threading.Event()
        self._counting = threading.Lock()
        self._counted: dict[str, float] = {}

    def readings(self, at: float | None = None) -> dict[str, Reading]:
        """Every product by its name, judged at a moment; None: now."""
        at = time.time() if at is None else at
        seen = self.lookout.seen
        return {
            name: Reading(
                product=watched.product,
                objective=watched.objective,
                at=at,
                verdict=judge(
                    seen[name].evidence, watched.objective, now=at, believed_for=self.believed_for
                ),
                seen=seen[name],
            )
            for name, watched in self.lookout.watched.items()
        }

    def look(self) -> dict[str, Reading]:
        """Look once, now."""
        self.lookout.look()
        self.looked = time.monotonic()
        self._has_looked.set()
        readings = self.readings()
        for hear in self.on_look:
            hear(readings)
        return readings

    def run(self) -> None:
        """Look and count until `stop`; then let go of the connections."""
        looking = threading.Thread(target=self._keep_looking, name="look", daemon=True)
        looking.start()
        try:
            self._keep_counting()
        finally:
            self._stop.set()
            # A look that hangs is left to its fate: nothing of it is worth waiting for.
            looking.join(_STOP_SECONDS)

    def stop(self) -> None:
        """Have `run` end; from any thread, or a signal handler."""
        self._stop.set()

    def close(self) -> None:
        """Let go of the connections, where `run` was not called."""
        self.lookout.close()

    def count(self, end: float) -> None:
        """Count the minute that ends at `end` (seconds since the epoch), where it is not yet."""
        for name, reading in self.readings(end).items():
            self._count(name, end, reading.verdict)

    def count_stale(self, readings: Mapping[str, Reading]) -> None:
        """Count the minute that it is now as bad for every product that is stale."""
        for name, reading in readings.items():
            if reading.verdict.state is State.STALE:
                self._count(name, next_end(reading.at, self.minute), reading.verdict)

    def _count(self, name: str, end: float, verdict: Verdict) -> None:
        with self._counting:
            if self._counted.get(name, 0.0) >= end:
                return
            self._counted[name] = end
            minutes = self.minutes[name]
            if verdict.is_good:
                minutes.good += 1
            else:
                assert verdict.blame is not None
                minutes.bad[verdict.blame] += 1

    def _keep_looking(self) -> None:
        pause = max(_SHORTEST_PAUSE_SECONDS, min(1.0, self.minute / LOOKS_A_MINUTE))
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self.count_stale(self.look())
            except Exception:
                # Nobody else would notice that this thread is gone.
                log.exception("this should not happen; looking on")
            self._stop.wait(max(_SHORTEST_PAUSE_SECONDS, began + pause - time.monotonic()))
        self.lookout.close()

    def _keep_counting(self) -> None:
        end = next_end(time.time(), self.minute)
        while not self._stop.wait(max(0.0, end - time.time())):
            now = time.time()
            if now < end:
                continue
            if now - end > self.minute / 2:
                log.warning("stood still for %.0f s; the minutes are not counted", now - end)
            elif self._has_looked.is_set():
                self.count(end)
            end = next_end(now, self.minute)


def next_end(now: float, minute: float) -> float:
    """When the minute ends that it is now, in seconds since the epoch."""
    return (math.floor(now / minute) + 1) * minute
