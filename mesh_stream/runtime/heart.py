"""What a worker says of itself on `mesh.status`, again and again, whatever its loop is doing.

The loop tells it, as it tells every witness; a thread of its own puts it on the topic, every other
second and at once where the state has changed. So an idle worker is seen to be alive, and one whose
loop hangs is seen to hang: it goes on saying when it last turned. Invariant: nothing here holds the
worker up or ends it. Where there is no topic, or no broker, that is one warning, and then silence
until it works again.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
import time
from types import TracebackType
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from mesh_stream.kafka.client import Config, kafka_error
from mesh_stream.pipeline.events import source_of
from mesh_stream.pipeline.windows import NEVER
from mesh_stream.product.product import Product
from mesh_stream.runtime.report import Committed, Ending, WorkerState
from mesh_stream.runtime.status import STATUS_TOPIC, Counts, Status, encode, key_of

log = logging.getLogger(__name__)

BEAT_SECONDS = 2.0
LAST_SECONDS = 1.0
"""How long an end waits for its last status: a graceful one is over in ten seconds altogether."""


class Heart:
    """The heartbeat of one worker slot, and the witness that knows what to say.

    Used as a context: it beats inside, and says `stopped` where that is left without an error.

    Args:
        product: The product.
        slot: Which of its slots.
        metrics: `host:port` that its metrics are served on; empty where they are not.
        config: What a producer's constructor takes.
    """

    def __init__(self, product: Product, *, slot: int, metrics: str, config: Config) -> None:
        self._product = product
        self._slot = slot
        self._metrics = _reachable(metrics)
        self._config = config
        self._began = _now()
        self._state = WorkerState.STARTING
        self._progressed = self._newest_event = self._newest_input = self._last_asked = 0
        self._positions: dict[tuple[str, int], int] = {}
        self._watermarks: dict[tuple[str, int], int] = {}
        self._counts = Counts()
        self._changed = threading.Event()
        self._has_ended = False
        self._is_heard = True
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

    # The witness of a worker

    def committed(self, transaction: Committed) -> None:
        """Add one committed transaction to what is said."""
        so_far = self._counts
        # Made anew, so that the other thread never reads half a transaction.
        self._counts = Counts(
            consumed=so_far.consumed + transaction.consumed.total(),
            sources=so_far.sources + transaction.sources,
            facts=so_far.facts + transaction.facts,
            filtered=so_far.filtered + transaction.filtered.total(),
            rejected=so_far.rejected + transaction.rejected.total(),
        )
        self._newest_event = max(self._newest_event, transaction.newest_event)
        self._newest_input = max(self._newest_input, transaction.newest_input)
        self._last_asked = max(self._last_asked, transaction.last_asked)
        for partition, offset in transaction.positions.items():
            # Not of one that was given up before this transaction's end was known.
            if partition in self._positions:
                self._positions[partition] = offset
        for partition, watermark in transaction.watermarks.items():
            if partition in self._positions and watermark > NEVER:
                self._watermarks[partition] = watermark

    def state(self, state: WorkerState) -> None:
        """The worker is doing something else now: that is said at once."""
        if state is not self._state:
            self._state = state
            self._changed.set()

    def progress(self, now: float) -> None:
        """The loop turned, at `now` seconds since the epoch."""
        self._progressed = int(now * 1000)

    def taken(self, topic: str, partition: int, offset: int) -> None:
        """A partition is ours, and read from this offset on."""
        self._positions[topic, partition] = offset

    def given_up(self, topic: str, partition: int) -> None:
        """A partition is ours no more."""
        self._positions.pop((topic, partition), None)
        self._watermarks.pop((topic, partition), None)

    def ended(self, ending: Ending) -> None:
        """Nothing that is said here."""

    def lag(self, topic: str, partition: int, records: int) -> None:
        """Nothing that is said here: who looks from outside counts for himself."""

    def restored(self, records: int) -> None:
        """Nothing that is said here."""

    # The heart

    def __enter__(self) -> Heart:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._state = WorkerState.STOPPED
        self._has_ended = True
        self._changed.set()
        if kind is None:
            self._thread.join(2 * LAST_SECONDS)

    def status(self) -> Status:
        """What is to be said now."""
        return Status(
            product=self._product.name,
            version=self._product.version,
            slot=self._slot,
            state=self._state,
            at=_now(),
            began=self._began,
            progressed=self._progressed,
            newest_event=self._newest_event,
            newest_input=self._newest_input,
            last_asked=self._last_asked,
            positions={
                source_of(*partition): offset
                for partition, offset in sorted(self._positions.copy().items())
            },
            watermarks={
                str(partition): watermark
                for (_, partition), watermark in sorted(self._watermarks.copy().items())
            },
            counts=self._counts,
            metrics=self._metrics,
        )

    def _run(self) -> None:
        try:
            producer = Producer({**self._config, "on_delivery": self._delivered})
        except KafkaException as error:
            self._failed(error)
            return
        while not self._has_ended:
            self._changed.clear()
            self._beat(producer)
            self._changed.wait(BEAT_SECONDS)
        if self._state is WorkerState.STOPPED:
            self._beat(producer)
            producer.flush(LAST_SECONDS)

    def _beat(self, producer: Producer) -> None:
        producer.poll(0)
        status = self.status()
        try:
            producer.produce(STATUS_TOPIC, encode(status), key_of(status), partition=0)
        except BufferError:
            # What waits there is about to be too old, and then told as such.
            return
        except KafkaException as error:
            self._failed(error)

    def _delivered(self, error: KafkaError | None, _message: Any) -> None:
        if error is not None:
            self._failed(error)
        elif not self._is_heard:
            self._is_heard = True
            log.info("%s: its status is told on %s again", self._product.name, STATUS_TOPIC)

    def _failed(self, error: KafkaException | KafkaError) -> None:
        if self._is_heard:
            self._is_heard = False
            log.warning(
                "%s: %s; it goes on without: whoever looks from outside sees what it commits, but "
                "not what it is doing (`mesh-stream apply` provides the topic)",
                self._product.name, kafka_error(error, f"tell its status on {STATUS_TOPIC}"),
            )  # fmt: skip


def _now() -> int:
    return time.time_ns() // 1_000_000


def _reachable(address: str) -> str:
    """The address as others reach it: by the machine's name, where all its own are listened on."""
    host, _, port = address.rpartition(":")
    try:
        is_any = ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return address
    return f"{socket.gethostname()}:{port}" if is_any else address
