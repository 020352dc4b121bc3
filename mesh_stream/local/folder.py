"""Exclusive use of a folder, and files in it that are never seen half written."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mesh_stream.errors import PlatformError


@contextmanager
def locked(folder: Path, *, within: float) -> Iterator[None]:
    """Hold the folder alone, waiting at most `within` seconds for another process to let go.

    The lock is on the folder itself, not on a file in it: there is no file to leave behind, and
    the system releases it when the holder dies, however it dies.

    Raises:
        PlatformError: Another process held it all that time.
    """
    deadline = time.monotonic() + within
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise PlatformError(
                        f"{folder} is in use by another mesh-stream command, and was for "
                        f"{within:.0f} s; wait for it to end, or end it, and try again"
                    ) from None
                threading.Event().wait(0.05)
        yield
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """Give the file this content, whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(path)
