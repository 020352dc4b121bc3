"""What a worker says of itself on `mesh.status`, so that it can be seen without asking it.

The topic is compacted: of each slot, the newest status stays when the worker is gone. It is a
witness beside others, never the only one: a dead worker says nothing.
"""

from __future__ import annotations

import msgspec

from mesh_stream.runtime.report import WorkerState

STATUS_TOPIC = "mesh.status"


class Counts(msgspec.Struct, frozen=True):
    """What one worker process has committed since it began; as in `Committed`."""

    consumed: int = 0
    sources: int = 0
    facts: int = 0
    filtered: int = 0
    rejected: int = 0


class Status(msgspec.Struct, frozen=True):
    """One status of one slot: JSON, under the key `<product>/<slot>`.

    Moments are milliseconds since the epoch; 0 where there has been none.

    Attributes:
        product: The product's name.
        version: The declared version that the worker runs.
        slot: Its number.
        state: What it is doing.
        at: When this was said.
        began: When the process began: tells one from the next.
        progressed: When its loop last turned; stands still while the loop hangs.
        newest_event: Event time of the newest fact, not after its commit.
        newest_input: Newest event time of the input records that became facts, not after they
            arrived.
        last_asked: When the last input record arrived that was committed and not filtered.
        positions: `topic:partition` -> next offset to read, as committed, of the partitions that
            are its own.
        watermarks: Partition of the fold's topic -> its watermark; of a product with windows.
        counts: What it has committed.
        metrics: `host:port` of its metrics; empty where it serves none.
    """

    product: str
    version: str
    slot: int
    state: WorkerState
    at: int
    began: int
    progressed: int = 0
    newest_event: int = 0
    newest_input: int = 0
    last_asked: int = 0
    positions: dict[str, int] = {}
    watermarks: dict[str, int] = {}
    counts: Counts = Counts()
    metrics: str = ""


def key_of(status: Status) -> bytes:
    """The key that a status stands under."""
    return f"{status.product}/{status.slot}".encode()


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Status).decode
