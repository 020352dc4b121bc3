"""Everything that the page shows, kept up to date by threads of its own; the page only reads."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from mesh_stream.console import prometheus
from mesh_stream.console.activity import Workers
from mesh_stream.console.history import History
from mesh_stream.console.shown import Budget, Shown, budget_of, verdict_of, worst_first
from mesh_stream.console.words import moment
from mesh_stream.freshness.moments import Schemas
from mesh_stream.freshness.monitor import MINUTE_SECONDS, Monitor
from mesh_stream.kafka.registry import SchemaRegistry
from mesh_stream.product.product import Product
from mesh_stream.settings import Settings

log = logging.getLogger(__name__)

_PROMETHEUS_SECONDS = 30.0
_END_SECONDS = 3.0


class Watch:
    """A monitor, the workers' figures, and the last hour; `start` and `stop` it.

    Args:
        products: What is watched.
        settings: Where the broker is.
        registry: Knows the schemas that facts were written with.
        prometheus_url: Who remembers more than this process; empty: nobody.

    Attributes:
        products: What is watched, by name.
        settings: Where the broker is.
        history: How old the newest facts have been.
        problem: Why Prometheus could not be asked; empty where it could, or is not there.
    """

    def __init__(
        self,
        products: Sequence[Product],
        settings: Settings,
        registry: SchemaRegistry,
        *,
        prometheus_url: str = "",
    ) -> None:
        self.products = {product.name: product for product in products}
        self.settings = settings
        self.history = History(self.products)
        self.problem = ""
        self._monitor = Monitor(products, settings, Schemas(registry), minute=MINUTE_SECONDS)
        self._monitor.on_look.append(self.history.take)
        self._workers = Workers(products, self._monitor.readings)
        self._since = time.time()
        self._prometheus_url = prometheus_url
        self._budgets: dict[str, float] = {}
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._monitor.run, name="monitor", daemon=True),
            threading.Thread(
                target=self._workers.run, args=(self._stop,), name="workers", daemon=True
            ),
        ]
        if prometheus_url:
            self._threads.append(
                threading.Thread(target=self._remember, name="prometheus", daemon=True)
            )

    def start(self) -> None:
        """Begin to look."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Look no more; what hangs is left to its fate."""
        self._monitor.stop()
        self._stop.set()
        deadline = time.monotonic() + _END_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def shown(self) -> list[Shown]:
        """Every product now, worst first."""
        return worst_first(
            Shown(reading, verdict_of(reading), self._budget(name, reading.objective.availability),
                  self._workers.of(name))
            for name, reading in self._monitor.readings().items()
        )  # fmt: skip

    def of(self, name: str) -> Shown:
        """One product now."""
        return next(one for one in self.shown() if one.name == name)

    def _budget(self, name: str, availability: float) -> Budget:
        counted = budget_of(self._monitor.minutes[name], availability, moment(self._since)[11:16])
        left = self._budgets.get(name)
        return (
            counted if left is None else replace(counted, left=left, of="of 30 days, by Prometheus")
        )

    def _remember(self) -> None:
        """Ask Prometheus: once for the last hour, again and again for what is left of budgets."""
        missing = True
        with prometheus.client(self._prometheus_url) as asked:
            while not self._stop.is_set():
                try:
                    if missing:
                        for name, points in prometheus.ages(asked, self.products).items():
                            self.history.fill(name, points)
                        missing = False
                    self._budgets = prometheus.budgets(asked, self.products)
                    self.problem = ""
                except prometheus.UnansweredError as error:
                    # What it said of budgets gets old: what was counted here is known.
                    self._budgets = {}
                    if not self.problem:
                        log.warning("%s", error)
                    self.problem = str(error)
                self._stop.wait(_PROMETHEUS_SECONDS)
