"""The Java artifacts of the embedded stack: pinned, downloaded once, checked, unpacked.

The lock names every file with its size and SHA-256; nothing else is ever put on a class path.
Invariant: whatever stands in the cache under its final name was whole and right when it was put
there, because a file is downloaded (and the registry unpacked) under a partial name, checked, and
renamed. Jars are checked again before each start; a damaged one is fetched anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mesh_stream.errors import MeshError, PlatformError
from mesh_stream.local.folder import locked
from mesh_stream.local.pinned import Artifact, Lock, read_lock

# Enough for a slow line to bring 200 MB while another command waits.
DOWNLOAD_SECONDS = 1800.0
PARTIAL = "partial-"


@dataclass(frozen=True, slots=True)
class Installation:
    """Where the checked parts stand."""

    broker_classpath: tuple[Path, ...]
    registry_jar: Path


def cache_folder() -> Path:
    """`$MESH_CACHE`, else `mesh-stream` in the user's cache folder (XDG base directories)."""
    if chosen := os.environ.get("MESH_CACHE"):
        return Path(chosen).absolute()
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    base = xdg if xdg.is_absolute() else Path.home() / ".cache"
    return base / "mesh-stream"


def install() -> Installation:
    """Bring what the stack runs into the user's cache, unless it is there.

    Raises:
        MeshError: The cache's path cannot be used.
        PlatformError: A download failed, or what arrived is not what the lock names.
    """
    lock, cache = read_lock(), cache_folder() / "java"
    jars, home = fetch(lock, cache)
    return Installation(jars, home / "quarkus-run.jar")


def fetch(lock: Lock, cache: Path) -> tuple[tuple[Path, ...], Path]:
    """Bring whatever of the locked artifacts is not in the cache, whole and right, and unpack it.

    Several processes may call this at once; one downloads, the others wait for it.

    Returns:
        The broker's jars, and the registry's folder.

    Raises:
        MeshError: The cache's path cannot be used.
        PlatformError: A download failed, or what arrived is not what the lock names.
    """
    if os.pathsep in str(cache):
        raise MeshError(
            f"{cache}: the cache may not have {os.pathsep!r} in its path, which separates the "
            f"entries of a Java class path; choose another with MESH_CACHE"
        )
    try:
        return _fetch(lock, cache)
    except OSError as error:
        raise MeshError(
            f"{cache}: the embedded stack's parts cannot be kept there: {error}; mend it, or "
            f"choose another cache with MESH_CACHE"
        ) from error


def _fetch(lock: Lock, cache: Path) -> tuple[tuple[Path, ...], Path]:
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache, within=DOWNLOAD_SECONDS):
        for leftover in cache.glob(f"{PARTIAL}*"):
            shutil.rmtree(leftover)
        home = cache / f"registry-{lock.registry.version}-{lock.registry.sha256[:12]}"
        wanted = [jar for jar in lock.broker if not _whole(cache / jar.filename, jar)]
        if not _unpacked(home):
            wanted.append(lock.registry)
        if wanted:
            # A progress bar and a resolver are imported where there is something to download.
            from mesh_stream.local.download import download

            with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=cache) as partial:
                for artifact, file in download(wanted, Path(partial)).items():
                    verify(file, artifact)
                    if artifact is not lock.registry:
                        file.replace(cache / artifact.filename)
                        continue
                    unpacked = Path(partial) / "unpacked"
                    _unpack(file, unpacked)
                    shutil.rmtree(home, ignore_errors=True)
                    unpacked.rename(home)
        return tuple(cache / jar.filename for jar in lock.broker), home


def verify(file: Path, artifact: Artifact) -> None:
    """Check a downloaded file against the lock; a wrong one is deleted.

    Raises:
        PlatformError: It is not what the lock names.
    """
    found = _digest(file)
    if found != artifact.sha256:
        size = file.stat().st_size
        file.unlink()
        raise PlatformError(
            f"{artifact}: the download is not the file that was pinned: expected SHA-256 "
            f"{artifact.sha256} ({artifact.bytes} bytes), got {found} ({size} bytes); it was "
            f"deleted. Try again; if it happens again, a proxy or mirror between here and the "
            f"Maven repository alters files"
        )


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _whole(file: Path, artifact: Artifact) -> bool:
    return file.is_file() and _digest(file) == artifact.sha256


def _unpack(tarball: Path, home: Path) -> None:
    """Unpack regular files only, only below `home`, and note each file's size.

    By hand, because the `filter` argument of `tarfile` is missing from Python 3.11.0 to 3.11.3.
    """
    sizes: dict[str, int] = {}
    with tarfile.open(tarball) as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            if member.isdir():
                continue
            content = archive.extractfile(member) if member.isreg() else None
            if content is None or name.is_absolute() or ".." in name.parts:
                raise PlatformError(
                    f"{tarball.name}: refused to unpack {member.name!r}: expected regular files "
                    f"below the archive's own folder"
                )
            target = home / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                shutil.copyfileobj(content, file)
            sizes[str(name)] = member.size
    (home / "unpacked.json").write_text(json.dumps(sizes), encoding="utf-8")


def _unpacked(home: Path) -> bool:
    """Whether every unpacked file is still there with its size.

    Sizes, not digests: cleaners of old cache files and full disks are what damages the tree, and
    hashing it would add half a second to every start.
    """
    try:
        sizes = json.loads((home / "unpacked.json").read_text(encoding="utf-8"))
        return all((home / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False
