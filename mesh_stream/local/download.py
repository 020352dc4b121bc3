"""Downloads pinned artifacts with a bar that shows how far it is.

jgo knows where Maven artifacts live and how to ask for them; it writes straight to the final path,
so it is given a partial folder to write to, and the caller checks and moves what arrived.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from mesh_stream.errors import PlatformError
from mesh_stream.local.extra import require
from mesh_stream.local.pinned import Artifact

# Where only an inner mirror can be reached; what it delivers must be what the lock names.
MIRROR = "MESH_MAVEN_URL"
ATTEMPTS = 4
PAUSE_SECONDS = 1.0
# The repository's answers are waited for longer than they take to arrive; four hide that.
PARALLEL = 4
TIMEOUT_SECONDS = 30


def download(artifacts: Sequence[Artifact], into: Path) -> dict[Artifact, Path]:
    """Download every artifact into the folder; the largest first, since it decides the end.

    Returns:
        Where each one stands; unchecked.

    Raises:
        PlatformError: One of them could not be had after several attempts.
    """
    require("jgo")
    order = sorted(artifacts, key=lambda artifact: -artifact.bytes)
    total = sum(artifact.bytes for artifact in order)
    stopping = threading.Event()
    with _bar(total) as advance, ThreadPoolExecutor(PARALLEL) as pool:

        def count(arrived: int) -> None:
            if stopping.is_set():
                raise _StoppedError
            advance(arrived)

        futures = [pool.submit(_fetch, artifact, into, count, stopping) for artifact in order]
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
        finally:
            # One has failed, or the user has had enough: the others end at their next bytes.
            stopping.set()
            pool.shutdown(cancel_futures=True)
    return {artifact: future.result() for artifact, future in zip(order, futures, strict=True)}


class _StoppedError(Exception):
    """Nobody waits for this download any more."""


def _fetch(
    artifact: Artifact,
    into: Path,
    advance: Callable[[int], None],
    stopping: threading.Event,
) -> Path:
    from jgo.maven import MavenContext, PythonResolver
    from requests import RequestException

    arrived = 0

    @contextmanager
    def follow(_filename: str, _bytes: int) -> Iterator[Callable[[int], None]]:
        def more(count: int) -> None:
            nonlocal arrived
            arrived += count
            advance(count)

        yield more

    # A folder of its own for each: an attempt that failed half-way is wiped without care.
    folder = into / artifact.sha256
    mirror = os.environ.get(MIRROR)
    maven = MavenContext(
        resolver=PythonResolver(progress_callback=follow),
        repo_cache=folder,
        remote_repos={"mirror": mirror} if mirror else None,
        timeout=TIMEOUT_SECONDS,
    )
    component = maven.project(artifact.group, artifact.artifact).at_version(artifact.version)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return component.artifact(artifact.classifier, artifact.packaging).resolve()
        except (RequestException, RuntimeError, OSError) as error:
            advance(-arrived)
            arrived = 0
            shutil.rmtree(folder, ignore_errors=True)
            if attempt == ATTEMPTS:
                raise PlatformError(
                    f"{artifact}: download failed {ATTEMPTS} times, last with: {error}. The "
                    f"embedded stack is downloaded once; check the connection and try again; "
                    f"HTTPS_PROXY names a proxy, {MIRROR} the URL of a mirror of Maven Central"
                ) from error
            stopping.wait(PAUSE_SECONDS * 2 ** (attempt - 1))
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr; where that is no terminal, one line before and one after."""
    console = Console(stderr=True)
    megabytes = total / 1e6
    if not console.is_terminal:
        console.print(f"downloading the embedded broker and registry, {megabytes:.0f} MB, once")
        yield lambda _count: None
        console.print("downloaded")
        return
    columns = (
        TextColumn("downloading, this once"),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda count: progress.advance(task, count)
