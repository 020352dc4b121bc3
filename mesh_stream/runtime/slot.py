"""One worker slot as a process: preflight, put the parts together, run, stop when told.

The parts meet here and nowhere else, so that `worker.py` stays the loop and nothing but the loop.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from types import FrameType

from confluent_kafka import Consumer, TopicPartition

from mesh_stream.kafka.client import (
    consumer_settings,
    producer_settings,
    reader_settings,
    status_settings,
)
from mesh_stream.kafka.preflight import Provisioned, preflight
from mesh_stream.kafka.registry import SchemaRegistry
from mesh_stream.pipeline.deadletter import Provenance
from mesh_stream.pipeline.paths import paths_of
from mesh_stream.product.product import Product
from mesh_stream.runtime.heart import Heart
from mesh_stream.runtime.pace import Pace
from mesh_stream.runtime.report import Witness, Witnesses
from mesh_stream.runtime.restore import Restorer, connection
from mesh_stream.runtime.states import Ground, States
from mesh_stream.runtime.transaction import Transaction
from mesh_stream.runtime.worker import Worker
from mesh_stream.settings import Settings

log = logging.getLogger(__name__)

# A stop is over by then, come what may: an operator who waits ten seconds need not kill.
STOP_SECONDS = 9.0


def run_slot(
    product: Product,
    *,
    slot: int,
    settings: Settings,
    registry: SchemaRegistry,
    witness: Witness,
    pace: Pace,
    metrics: str = "",
) -> None:
    """Run one slot of a product until SIGTERM or SIGINT; a second signal ends it at once.

    Args:
        product: The product.
        slot: Which of its slots; names the transactional id, so that no two processes share one.
        settings: Where broker and registry are.
        registry: The schema registry's client.
        witness: Who is told what happens.
        pace: When to commit, and how long to bear a fault.
        metrics: `host:port` that its metrics are served on; empty where they are not.

    Raises:
        NotProvisionedError: Topics or schema are not as declared.
        MeshError: As `Worker.run`.
    """
    stop = _StopRequest()
    client_id = f"{product.transactional_id(slot)}.status"
    config = status_settings(settings, client_id=client_id)
    with Heart(product, slot=slot, metrics=metrics, config=config) as heart:
        worker = _worker(
            product,
            slot=slot,
            settings=settings,
            registry=registry,
            witness=Witnesses(witness, heart),
            pace=pace,
            stop=stop,
        )
        stop.tell(worker)
        worker.run()


def _worker(
    product: Product,
    *,
    slot: int,
    settings: Settings,
    registry: SchemaRegistry,
    witness: Witness,
    pace: Pace,
    stop: _StopRequest,
) -> Worker:
    """Put the parts of a slot's worker together; as `run_slot`."""
    provisioned = preflight(settings, product, registry)
    paths = paths_of(product, schema_id=provisioned.schema_id, writers=registry)
    transactional_id = product.transactional_id(slot)
    transaction = Transaction(
        producer_settings(settings, client_id=transactional_id, transactional_id=transactional_id),
        stopping=lambda: stop.requested,
    )
    reading = {
        **consumer_settings(settings, product, client_id=transactional_id),
        # The end of a partition is told, so that positions get past what no reader sees.
        "enable.partition.eof": True,
    }
    moves_some = "cooperative" in reading["partition.assignment.strategy"]
    consumer = Consumer(reading) if moves_some else EagerConsumer(reading)
    return Worker(
        product,
        states=States(product, paths, _ground(product, provisioned, settings, slot, witness)),
        provenance=Provenance.of(
            product,
            contract_version=provisioned.version,
            schema_id=provisioned.schema_id,
        ),
        consumer=consumer,
        transaction=transaction,
        witness=witness,
        pace=pace,
    )


def _ground(
    product: Product, provisioned: Provisioned, settings: Settings, slot: int, witness: Witness
) -> Ground | None:
    """What the states of a slot stand on; None for a product without any."""
    if product.state is None:
        return None
    changelog = product.changelog_topic
    client_id = f"{product.transactional_id(slot)}.restore"
    reader = reader_settings(settings, group=client_id, client_id=client_id)
    # A changelog that was made anew has another id: its stores lie elsewhere.
    identity = provisioned.ids[changelog].replace("/", "_")
    # When a state is to be looked at is kept in the store alone.
    times = f"ttl {product.state.ttl} grace {product.state.grace}"
    return Ground(
        folder=settings.state / product.name / identity / str(slot),
        identity=f"{product.name} {identity} {times}",
        ids=provisioned.ids,
        partitions=provisioned.partitions,
        restorer=Restorer(product.name, changelog, connection(reader), witness.restored),
    )


class EagerConsumer(Consumer):
    """A consumer whose group takes all partitions and gives them anew when one of them moves.

    That is for an operator to choose (`partition.assignment.strategy`); the worker need not know.
    """

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        """Take partitions: all of them are in the list."""
        self.assign(partitions)


class _StopRequest:
    """SIGTERM and SIGINT, from the first moment on: the first asks, the second does not.

    Heard in a thread of its own: Python runs a signal's handler when the main thread is next back
    from a call into the client library, which may be seconds later where the broker is down.
    """

    def __init__(self) -> None:
        self.requested = False
        self._worker: Worker | None = None
        hear, tell = socket.socketpair()
        tell.setblocking(False)
        signal.set_wakeup_fd(tell.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _heard_elsewhere)
        threading.Thread(target=self._listen, args=(hear, tell), daemon=True).start()

    def tell(self, worker: Worker) -> None:
        """Pass the request on, also one that came before."""
        self._worker = worker
        if self.requested:
            worker.stop()

    def _listen(self, hear: socket.socket, _tell: socket.socket) -> None:
        while number := hear.recv(1)[0]:
            if self.requested:
                os._exit(128 + number)
            self.requested = True
            if self._worker is not None:
                self._worker.stop()
            # A client that hangs on a dead broker must not keep the process: what is not committed
            # by then is aborted by the coordinator and read again.
            last = threading.Timer(STOP_SECONDS, os._exit, args=(1,))
            last.daemon = True
            last.start()


def _heard_elsewhere(_number: int, _frame: FrameType | None) -> None:
    """Only keeps the signal from ending the process; its number went to the wakeup socket."""
