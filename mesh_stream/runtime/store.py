"""The state of one partition on this machine's disk: a cache of the changelog, never more.

Whatever is in a store is in the changelog too, and a store is always what the changelog says up to
one offset, its position: every write is atomic and carries the position it reaches. So a store may
be behind, and replaying the changelog over it again harms nothing; but it must never be *wrong*.
Where it could be (another product's, unreadable, too old), it is wiped and begins empty.

RocksDB keeps it. Its write-ahead log is off: the changelog is one already. A write is in memory
until a flush puts it into a file: checksummed, synced before anything refers to it, and in the
order of the writes. After a crash or a power cut the store is as some earlier write left it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self, cast

from rocksdict import Rdict, ReadOptions

from mesh_stream.errors import StoreError
from mesh_stream.runtime.rocksdb import (
    is_behind,
    is_empty,
    is_machine_fault,
    manifest_fault,
    options,
    wrote,
)

log = logging.getLogger(__name__)

MEMORY_BYTES = 24 << 20
"""What one open store may take of memory: eight of them and their worker stay below 400 MB."""

# What a crash makes a restart replay of the changelog: so much of it, or one write buffer.
FLUSH_SECONDS = 60.0

# How long a write waits for the files to be in order; a disk that works never takes that long.
STALL_SECONDS = 10.0
ASK_AGAIN_SECONDS = 0.002

# By how much the clock may have been ahead of today's when the store was last written.
CLOCK_SECONDS = 300.0

# The store's own record, written with every change: format, offset (-1: no position), wall-clock
# time, then the identity. Its key is the empty one, which no state has.
OWN_KEY = b""
FIRST_KEY = b"\x00"
FORMAT = 1
HEADER = struct.Struct(">Bqd")


class Position(NamedTuple):
    """How far a store is."""

    changelog: int
    """Every record of the changelog partition before this offset is in the store."""
    written_at: float
    """When that was so: wall-clock seconds since the epoch."""


class Store:
    """One open store, made by `Store.open`; one thread at a time uses it, not always the same."""

    def __init__(self, folder: Path, lock: int, identity: str, memory_bytes: int) -> None:
        self._folder = folder
        # A folder of its own inside: what a wipe removes is never anything but the store's.
        self._files = folder / "rocksdb"
        self._lock = lock
        self._identity = identity.encode()
        self._memory_bytes = memory_bytes
        self._database: Rdict | None = None
        self._position: Position | None = None
        self._flushed_at = 0.0

    @classmethod
    def open(
        cls, folder: Path, *, identity: str, max_age: float, memory_bytes: int = MEMORY_BYTES
    ) -> Self:
        """Open the store in this folder, empty where there is none or none that can be trusted.

        Args:
            folder: The store's own; made if it is missing. Held alone until `close`.
            identity: Whose state it is: product, changelog topic, topic id, partition.
            max_age: Seconds. A store last written longer ago begins empty: the changelog may have
                dropped tombstones that it never saw (`delete.retention.ms`), and what they
                deleted would live on here.
            memory_bytes: What the store may take of memory, cache and write buffers together.

        Raises:
            StoreError: Another process holds the folder, or the machine does not let it be read
                and written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = _hold(folder)
        except OSError as error:
            raise _machine_fault(folder, "opened", str(error)) from error
        store = cls(folder, lock, identity, memory_bytes)
        try:
            store._begin(max_age)
        except BaseException:
            store.close()
            raise
        return store

    @property
    def position(self) -> Position | None:
        """How far the store is; None while it has not been told."""
        return self._position

    def get(self, key: bytes) -> bytes | None:
        """The key's value, or None.

        Raises:
            StoreError: As `get_many`.
        """
        return self.get_many((key,))[0]

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The keys' values in the keys' order, None for a key that is not there.

        Raises:
            StoreError: The store is closed, damaged (it is then wiped), or the machine is at fault.
        """
        if OWN_KEY in keys:
            raise ValueError("the empty key is the store's own")
        database = self._opened()
        try:
            return cast("list[bytes | None]", database.get(list(keys)))
        except Exception as error:
            raise self._fault("read", error) from error

    def apply(
        self,
        changes: Mapping[bytes, bytes | None] | Iterable[tuple[bytes, bytes | None]],
        position: Position | None,
    ) -> None:
        """Write all of it or nothing. Other threads run while RocksDB works.

        Args:
            changes: Key -> value, or None to delete the key. Of pairs with the same key the last
                one counts.
            position: How far the store is with these changes; None leaves the position as it is.

        Raises:
            StoreError: As `get_many`. Close the store and open it again: it is then as an earlier
                write left it, and the changelog has the rest.
        """
        changes = changes if isinstance(changes, Mapping) else dict(changes)
        if OWN_KEY in changes:
            raise ValueError("the empty key is the store's own")
        database = self._opened()
        position = position or self._position
        own = HEADER.pack(FORMAT, *(position or (-1, 0.0))) + self._identity
        until = time.monotonic() + STALL_SECONDS
        try:
            while is_behind(database) or not wrote(database, changes, (OWN_KEY, own)):
                if time.monotonic() > until:
                    cause = f"flushes and merges of its files are {STALL_SECONDS:.0f} s behind"
                    raise _machine_fault(self._folder, "written", cause)
                time.sleep(ASK_AGAIN_SECONDS)
            if time.monotonic() - self._flushed_at > FLUSH_SECONDS:
                database.flush(wait=False)
                self._flushed_at = time.monotonic()
        except Exception as error:
            raise self._fault("written", error) from error
        self._position = position

    def scan(self, start: bytes, stop: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """At most `limit` entries with start <= key < stop, in the order of their keys' bytes.

        What was deleted lately is passed over one by one: go on where the last scan ended rather
        than begin again from the lowest key that ever was.

        Raises:
            StoreError: As `get_many`.
        """
        start = start or FIRST_KEY
        if limit <= 0 or start >= stop:
            return []
        database = self._opened()
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(stop)
        found: list[tuple[bytes, bytes]] = []
        cursor = None
        try:
            cursor = database.iter(bounds)
            cursor.seek(start)
            while len(found) < limit and cursor.valid():
                found.append((cursor.key(), cursor.value()))
                cursor.next()
            # A cursor that meets damage looks like one that is at its end.
            cursor.status()
        except Exception as error:
            cursor = None
            raise self._fault("read", error) from error
        return found

    def count(self) -> int:
        """About how many entries there are: what was overwritten lately may count twice."""
        estimate = self._opened().property_int_value("rocksdb.estimate-num-keys") or 0
        return max(0, estimate - 1)

    def wipe(self) -> None:
        """Begin again, empty and without a position.

        Raises:
            StoreError: The machine does not let the folder be emptied or written.
        """
        self._discard()
        try:
            self._database = Rdict(str(self._files), options(self._memory_bytes))
        except Exception as error:
            raise _machine_fault(self._folder, "made", str(error)) from error

    def close(self) -> None:
        """Flush, and let go of the folder. A store that cannot be flushed stays behind: no harm."""
        self._close_database()
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def _begin(self, max_age: float) -> None:
        self._flushed_at = time.monotonic()
        try:
            if not (doubt := manifest_fault(self._files)):
                self._database = Rdict(str(self._files), options(self._memory_bytes))
                doubt = self._doubt(self._database, max_age)
        except Exception as error:
            if is_machine_fault(error):
                raise _machine_fault(self._folder, "opened", str(error)) from error
            doubt = f"it is unreadable: {error}"
        if doubt:
            log.warning("state in %s is wiped, to be restored: %s", self._folder, doubt)
            self.wipe()

    def _doubt(self, database: Rdict, max_age: float) -> str:
        """Why the store as found is not to be trusted; empty where it is. Sets its position."""
        record: bytes | None = database.get(OWN_KEY)
        if record is None:
            return "" if is_empty(database) else "it does not say whose it is"
        if len(record) < HEADER.size or record[0] != FORMAT:
            return f"its format is not the one expected, {FORMAT}"
        _, changelog, written_at = HEADER.unpack_from(record)
        if (identity := record[HEADER.size :]) != self._identity:
            return (
                f"it is the state of {identity.decode(errors='replace')}, "
                f"not of {self._identity.decode()}"
            )
        if changelog < 0:
            return "it does not say how much of the changelog it holds"
        age = time.time() - written_at
        if not -CLOCK_SECONDS <= age <= max_age:
            return f"it was last written {age:.0f} s ago; at most {max_age:.0f} s are safe"
        self._position = Position(changelog, written_at)
        return ""

    def _opened(self) -> Rdict:
        if self._database is None:
            raise StoreError(f"the state store in {self._folder} is closed; open it again")
        return self._database

    def _fault(self, done: str, error: Exception) -> StoreError:
        # The binding raises `Exception` itself for whatever RocksDB reports, and nothing else does.
        if type(error) is not Exception:
            raise error
        if is_machine_fault(error):
            return _machine_fault(self._folder, done, str(error))
        self._discard()
        return StoreError(
            f"the state store in {self._folder} was damaged and is wiped: {error}; start the "
            f"worker again, it restores the state from the changelog; if this happens again, "
            f"check the disk"
        )

    def _close_database(self) -> None:
        database, self._database = self._database, None
        if database is None:
            return
        try:
            # Flushes first; is closed afterwards even if that fails.
            database.close()
        except Exception as error:  # noqa: BLE001 - the binding raises nothing narrower
            log.warning("the last changes are not in %s: %s", self._folder, error)

    def _discard(self) -> None:
        """Close the database and remove its files."""
        self._close_database()
        self._position = None
        try:
            if self._files.exists():
                shutil.rmtree(self._files)
        except OSError as error:
            raise _machine_fault(self._folder, "wiped", str(error)) from error


def _machine_fault(folder: Path, done: str, cause: str) -> StoreError:
    return StoreError(
        f"the state store in {folder} cannot be {done}: {cause}; expected a folder that this "
        f"process may write, on a disk with free space; see to that and start the worker again"
    )


def _hold(folder: Path) -> int:
    """Lock the folder; the system lets go of it when the descriptor is closed, or the holder dies.

    Raises:
        StoreError: Another process has it.
        OSError: The lock file cannot be made.
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace") or "unknown"
        os.close(descriptor)
        raise StoreError(
            f"the state store in {folder} is in use by process {holder}; a store has one user at a "
            f"time: end that worker, or give this one another folder"
        ) from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
