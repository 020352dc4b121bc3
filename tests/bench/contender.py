"""What the two scripts that compete with the worker are told, and what they tell."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import msgspec

from mesh_stream.settings import Settings
from tests.bench.process import cpu_seconds, peak_bytes

COMMIT_SECONDS = 0.1
"""Age at which either commits its transaction: the worker's own pace under load."""
BATCH_RECORDS, BATCH_SECONDS = 2_000, 0.01
"""What either asks the consumer for at once: as the worker does."""
PATIENCE_SECONDS = 30.0


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One run: where to read, how many records, where to write.

    Attributes:
        bootstrap_servers: The broker.
        input: The topic to read from its beginning.
        records: How many records it holds.
        output: The topic of the facts.
        dead_letters: The topic of what is rejected.
        identity: A group and transactional id that nobody used before.
        schema_id: The registry's id of the facts' schema.
    """

    bootstrap_servers: str
    input: str
    records: int
    output: str
    dead_letters: str
    identity: str
    schema_id: int

    @property
    def settings(self) -> Settings:
        """The settings that every Kafka client here is made from."""
        return Settings.load({}, bootstrap_servers=self.bootstrap_servers, registry_url=NO_REGISTRY)


NO_REGISTRY = "http://127.0.0.1:1"
"""Contenders encode by hand and ask no registry; settings want an address all the same."""


class Cost(msgspec.Struct, frozen=True):
    """What a run cost: processor seconds after start-up, and the largest memory in bytes."""

    cpu_seconds: float
    peak_bytes: float


def main(run: Callable[[Task], None]) -> None:
    """Run the task given as JSON on the command line; print the result as JSON."""
    task = msgspec.json.decode(sys.argv[1], type=Task)
    began = cpu_seconds(os.getpid())
    run(task)
    cost = Cost(cpu_seconds(os.getpid()) - began, peak_bytes(os.getpid()))
    sys.stdout.buffer.write(msgspec.json.encode(cost) + b"\n")
