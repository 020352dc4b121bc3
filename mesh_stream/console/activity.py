"""What the workers do: their metrics pages, asked again and again, as rates.

Where they are is for the monitor to say. A worker that does not answer keeps its count, so that a
restart does not make a product forget; its rate falls to nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

from mesh_stream.freshness.figures import Figures, Slot, total
from mesh_stream.freshness.monitor_server import targets
from mesh_stream.freshness.reading import Reading
from mesh_stream.product.product import Product

log = logging.getLogger(__name__)

ASK_SECONDS = 2.0
RATE_SECONDS = 10.0
"""What rates are averaged over: long enough to be steady, short enough to be now."""
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Activity:
    """What a product's workers say.

    Attributes:
        figures: What they have counted; None: no worker has told anything yet.
        read: Input records a second; None where it is not known yet.
        published: Facts a second; the same.
    """

    figures: Figures | None = None
    read: float | None = None
    published: float | None = None


@dataclass(slots=True)
class _Kept:
    slots: dict[tuple[str, str], Slot] = field(default_factory=dict)
    counted: deque[tuple[float, int, int]] = field(default_factory=deque)
    activity: Activity = Activity()


class Workers:
    """Asks all workers; `run` it in a thread of its own.

    Args:
        products: Whose workers.
        readings: What the monitor has seen; where workers are stands there.
    """

    def __init__(
        self, products: Iterable[Product], readings: Callable[[], Mapping[str, Reading]]
    ) -> None:
        self._products = {product.name: product for product in products}
        self._readings = readings
        self._kept = {name: _Kept() for name in self._products}

    def of(self, product: str) -> Activity:
        """What a product's workers said last."""
        return self._kept[product].activity

    def run(self, stop: threading.Event) -> None:
        """Ask until `stop`."""
        # Proxies are for others: what a worker says of itself does not go through them.
        with (
            httpx.Client(trust_env=False) as client,
            ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="ask") as pool,
        ):
            while not stop.wait(ASK_SECONDS):
                try:
                    self.ask(client, pool)
                except Exception:
                    # Nobody else would notice that this thread is gone.
                    log.exception("this should not happen; asking on")

    def ask(self, client: httpx.Client, pool: ThreadPoolExecutor) -> None:
        """Ask all of them once."""
        for group in targets(self._readings()):
            slots = self._kept[group["labels"]["product"]].slots
            place = group["labels"]["slot"], group["targets"][0]
            slots.setdefault(place, Slot(place[1]))
        asked = [(name, slot) for name, kept in self._kept.items() for slot in kept.slots.values()]
        answers = pool.map(lambda one: one[1].ask(client), asked)
        told: dict[str, list[Figures]] = {}
        for (name, _), figures in zip(asked, answers, strict=True):
            if figures.created:
                told.setdefault(name, []).append(figures)
        now = time.monotonic()
        for name, figures_of in told.items():
            self._take(name, total(figures_of), now)

    def _take(self, name: str, figures: Figures, now: float) -> None:
        kept = self._kept[name]
        read = figures.consumed.total()
        published = figures.produced[self._products[name].output.topic]
        kept.counted.append((now, read, published))
        while len(kept.counted) > 2 and now - kept.counted[0][0] > RATE_SECONDS:
            kept.counted.popleft()
        then, read_then, published_then = kept.counted[0]
        passed = now - then
        kept.activity = Activity(
            figures,
            max(0, read - read_then) / passed if passed else None,
            max(0, published - published_then) / passed if passed else None,
        )
