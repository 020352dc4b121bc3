"""What lies in a store and in a changelog: entries of bytes by their keys.

Keys of entries begin with one byte that says what they are:

    s key              a state without windows, or a key's sessions
    w start key        the state of a hopping window
    d due key          when to look at a state that may expire; of the store alone
    m                  how far this partition has come (`Meta`)
    t fingerprint      what the type of the states looks like
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from mesh_stream.pipeline.watermark import Progress

META = b"m"
STATE, WINDOW, DUE, TYPE = b"s", b"w", b"d", b"t"

Entries = Mapping[bytes, bytes | None]
"""Key -> value; None deletes."""


class Store(Protocol):
    """Committed entries, in the order of their keys: a folder on disk, or a dict in a test."""

    def get(self, key: bytes) -> bytes | None: ...  # noqa: D102
    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]: ...  # noqa: D102
    def scan(self, start: bytes, stop: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """At most `limit` entries from `start` on, before `stop`."""
        ...

    def apply(self, changes: Entries, position: Any) -> None:
        """Make changes, all or none of them, and note where the changelog is."""
        ...


class Meta(msgspec.Struct, frozen=True):
    """How far a partition has come; written with every transaction that moves it.

    Attributes:
        offset: The next offset of the input partition; equal to the group's committed one.
        input_id: The input topic's id on the broker: another topic of the same name has another.
        progress: Its watermark.
        commits: How many transactions have changed this partition. The offset alone does not tell
            two states apart: closing windows leaves it where it was.
    """

    offset: int
    input_id: str
    progress: Progress
    commits: int = 0


def meta_of(store: Store) -> Meta | None:
    """How far a partition has come, by its store; None where nothing was ever committed."""
    encoded = store.get(META)
    return None if encoded is None else msgspec.msgpack.decode(encoded, type=Meta)
