"""What workers say is believed as far as it can be true."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from mesh_stream.freshness.statuses import MAX_SLOTS, Statuses
from mesh_stream.kafka.extent import Layout
from mesh_stream.runtime.report import WorkerState
from mesh_stream.runtime.status import STATUS_TOPIC, Status, encode, key_of
from mesh_stream.settings import Settings
from mesh_stream.testing.memory import MemoryMessage

AT = 1_700_000_000_000


@pytest.fixture
def statuses() -> Statuses:
    settings = Settings.load(
        {"MESH_BOOTSTRAP_SERVERS": "127.0.0.1:1", "MESH_REGISTRY_URL": "http://127.0.0.1:1/x"}
    )
    return Statuses(settings, ["orders"], client_id="test")


def status(slot: int = 0, **fields: Any) -> Status:
    return Status("orders", "1.0.0", slot, WorkerState.RUNNING, AT, AT - 1_000, **fields)


def message(key: bytes | None, value: bytes | None, at: int = AT) -> MemoryMessage:
    return MemoryMessage(STATUS_TOPIC, value, key, record_timestamp=(1, at))


def said(one: Status, at: int = AT) -> MemoryMessage:
    return message(key_of(one), encode(one), at)


def test_the_newest_of_each_slot_counts_and_a_tombstone_ends_it(statuses: Statuses) -> None:
    for one in (status(0), status(1), status(0, last_asked=5)):
        statuses._take(said(one))
    assert statuses.of("orders") == {0: status(0, last_asked=5), 1: status(1)}
    statuses._take(message(b"orders/1", None))
    assert set(statuses.of("orders")) == {0}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, encode(status())),
        (b"orders/1", encode(status())),
        (b"orders/x", encode(status())),
        (b"orders/\xff", encode(status())),
        (b"others/0", encode(status())),
        (b"orders/0", b"{"),
        (b"orders/0", b"\xff"),
        (b"orders/0", b"{}"),
    ],
)
def test_what_is_no_status_is_passed_over(
    statuses: Statuses, key: bytes | None, value: bytes
) -> None:
    statuses._take(message(key, value))
    assert statuses.of("orders") == {}


def test_no_moment_lies_after_the_record_that_says_it(statuses: Statuses) -> None:
    ahead = msgspec.structs.replace(
        status(newest_event=AT + 5, newest_input=AT + 5, last_asked=AT + 5), at=AT + 99
    )
    statuses._take(said(ahead))
    found = statuses.of("orders")[0]
    assert (found.at, found.newest_event, found.newest_input, found.last_asked) == (AT,) * 4


def test_slots_are_capped(statuses: Statuses) -> None:
    for slot in range(MAX_SLOTS + 10):
        statuses._take(said(status(slot)))
    assert len(statuses.of("orders")) == MAX_SLOTS


def test_without_the_topic_there_is_nothing_to_read(statuses: Statuses) -> None:
    assert statuses.read(None, {}, {}, deadline=0)
    # A partition without a leader: not all of it can be read.
    assert not statuses.read(Layout(2, "id"), {(STATUS_TOPIC, 0): 0}, {}, deadline=0)
