"""The demo's workers and its feed, each in a thread of its own, and how they end in time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from mesh_stream.errors import MeshError
from mesh_stream.kafka.writer import RawRecord, Sent, send
from mesh_stream.runtime.supervisor import Slot, Supervisor
from mesh_stream.settings import Settings

# A worker commits and leaves in well under a second. The whole demo has ten to end in, and broker
# and registry, which come after, may take six of them.
_PATIENCE_SECONDS = 3.0
_KILL_SECONDS = 1.0
_FEED_SECONDS = 1.0


class Crew:
    """The workers under their supervisor.

    Args:
        supervisor: Not yet running.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._thread = threading.Thread(target=supervisor.run, name="supervisor", daemon=True)

    @property
    def slots(self) -> Sequence[Slot]:
        """What it runs."""
        return self._supervisor.slots

    def start(self) -> None:
        """Start the workers."""
        self._thread.start()

    def restarts(self, product: str) -> int:
        """How often the product's workers were restarted."""
        return self._supervisor.restarts().get(product, 0)

    def has_given_up(self, product: str) -> bool:
        """Whether the product's workers cannot run, so that they are not restarted."""
        return not self._thread.is_alive() or product not in self._supervisor.restarts()

    def hurry(self) -> None:
        """Kill the workers; what they had not committed is read again by the next."""
        self._supervisor.stop()
        self._supervisor.stop()

    def end(self) -> None:
        """End the workers: let them commit and leave, kill those that take too long."""
        self._supervisor.stop()
        self._thread.join(_PATIENCE_SECONDS)
        if self._thread.is_alive():
            self._supervisor.stop()
            self._thread.join(_KILL_SECONDS)


class Feeding:
    """Sends records without end.

    Args:
        settings: Where the broker is.
        topics: The topics that they go to.
        records: What is sent; each names its topic.
        rate: Records a second.

    Attributes:
        sent: The count.
        failure: Why it ended, if it failed.
    """

    def __init__(
        self,
        settings: Settings,
        topics: Sequence[str],
        records: Iterator[RawRecord],
        *,
        rate: float,
    ) -> None:
        self.topics = tuple(topics)
        self.sent = Sent()
        self.failure: MeshError | None = None
        self._stop = threading.Event()

        def run() -> None:
            try:
                send(settings, self.topics[0], records, self.sent, rate=rate, stop=self._stop)
            except MeshError as error:
                self.failure = error

        self._thread = threading.Thread(target=run, name="feed", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self, *, within: float = _FEED_SECONDS) -> None:
        """Send no more, and wait for what was sent to be acknowledged, for so many seconds."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(within)
