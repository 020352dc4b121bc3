"""RocksDB as the store uses it: its settings, and the places where it would wait for ever.

On a full disk RocksDB makes a writer wait for compactions that never succeed, or for a recovery
that itself waits for the writer (seen with 9.8). So nothing here waits inside RocksDB: a write says
that it could not be made yet, and who wants it made asks again, for as long as it sees fit.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
    WriteOptions,
)

# Faults of the machine, in the words in which RocksDB passes them on: the files may well be sound.
MACHINE_FAULTS = tuple(
    os.strerror(number)
    for number in (
        errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM,
        errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOLCK,
    )
)  # fmt: skip

# So many files that have yet to be merged make reading slow, and merging is what has to be done.
FILES_TO_MERGE = 36
NEVER = 1_000_000

UNLOGGED = WriteOptions()
# The binding has an attribute here; its stub declares a method.
UNLOGGED.disable_wal = True  # type: ignore[method-assign,assignment]
UNLOGGED.no_slowdown = True


def options(memory_bytes: int) -> Options:
    """How a store of this size in memory is kept: half is cache, half write buffers."""
    table = BlockBasedOptions()
    table.set_block_cache(Cache(memory_bytes // 2))
    table.set_bloom_filter(10, block_based=False)
    # Filters and indexes count as cached too, or memory would grow with the state.
    table.set_cache_index_and_filter_blocks(True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    settings = Options(raw_mode=True)
    settings.set_block_based_table_factory(table)
    settings.set_compression_type(DBCompressionType.lz4())
    # One buffer is filled while up to two are being flushed.
    settings.set_write_buffer_size(memory_bytes // 6)
    settings.set_max_write_buffer_number(3)
    settings.set_max_background_jobs(2)
    # RocksDB never makes a write or a flush wait for compactions: see `is_behind`.
    settings.set_level_zero_slowdown_writes_trigger(NEVER)
    settings.set_level_zero_stop_writes_trigger(NEVER)
    settings.set_soft_pending_compaction_bytes_limit(0)
    settings.set_hard_pending_compaction_bytes_limit(0)
    # Of each store; a process has 1,024 descriptors by default, and may have many stores.
    settings.set_max_open_files(64)
    # Read whole at every opening; rewritten shorter when it has grown to this.
    settings.set_max_manifest_file_size(1 << 20)
    settings.set_keep_log_file_num(1)
    settings.set_max_log_file_size(1 << 20)
    settings.set_stats_dump_period_sec(0)
    settings.set_stats_persist_period_sec(0)
    return settings


def wrote(
    database: Rdict, changes: Mapping[bytes, bytes | None], last: tuple[bytes, bytes]
) -> bool:
    """Whether the changes, all or none of them, are written: not while flushes are behind."""
    batch = WriteBatch(raw_mode=True)
    put, delete = batch.put, batch.delete
    for key, value in changes.items():
        if value is None:
            delete(key)
        else:
            put(key, value)
    put(*last)
    try:
        database.write(batch, UNLOGGED)
    except Exception as error:
        if str(error).startswith("Result incomplete"):
            return False
        raise
    return True


def is_behind(database: Rdict) -> bool:
    """Whether compactions are so far behind that writing should wait."""
    return int(database.property_value("rocksdb.num-files-at-level0") or 0) > FILES_TO_MERGE


def is_empty(database: Rdict) -> bool:
    """Whether there is no entry at all."""
    cursor = database.iter()
    cursor.seek_to_first()
    cursor.status()
    return not cursor.valid()


def manifest_fault(files: Path) -> str:
    """What is wrong with RocksDB's list of its files; empty where it may read it itself.

    It finds all damage by its checksums but one: at a type of record that only a reused log has,
    its reader (9.8) spins for ever, in a call that no signal ends. A manifest has types 1 to 4.
    """
    for path in files.glob("MANIFEST-*"):
        content = path.read_bytes()
        for block in range(0, len(content), 32_768):
            at, end = block, min(block + 32_768, len(content))
            # Checksum (4 bytes), length (2), type (1); what is shorter fills the block up.
            while at + 7 <= end:
                if not 1 <= content[at + 6] <= 4:
                    return f"{path.name} is damaged at byte {at}"
                at += 7 + int.from_bytes(content[at + 4 : at + 6], "little")
    return ""


def is_machine_fault(error: Exception) -> bool:
    """Whether the machine is at fault: its disk, its rights, its limits; not the files."""
    return any(words in str(error) for words in MACHINE_FAULTS)
