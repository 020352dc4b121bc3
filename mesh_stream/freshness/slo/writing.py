"""Puts generated files into a folder, and takes away those that it once put there and no more does.

The manifest says which files those are, in the form that `sha256sum --check` reads. Nothing else in
the folder is touched. Each file is replaced whole. The manifest is written first, with old and new
together: whoever is cut off in between can be run again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from mesh_stream.errors import MeshError

MANIFEST = "SHA256SUMS"


def differences(folder: Path, files: Mapping[str, str]) -> tuple[str, ...]:
    """What is not as it would be written: one sentence each; none if all is current.

    Args:
        folder: The folder; it need not exist.
        files: Path inside the folder -> text.

    Raises:
        MeshError: The folder, its manifest or a file in it cannot be read.
    """
    try:
        found = {path: _read(folder / path) for path in (*files, MANIFEST)}
    except OSError as error:
        raise _unusable(folder, error) from error
    expected = {**files, MANIFEST: _manifest(files)}
    missing = [path for path in expected if found[path] is None]
    changed = [path for path in expected if found[path] not in (None, expected[path].encode())]
    stale = [path for path in _stale(folder, files) if (folder / path).exists()]
    return (
        *(f"{path} is missing" for path in missing),
        *(f"{path} is not what the declarations say" for path in changed),
        *(f"{path} belongs to what is no longer declared" for path in stale),
    )


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Makes the folder hold these files, and no longer those that it held of ours before.

    Raises:
        MeshError: A file that is somebody else's is in the way, and nothing was written; or the
            folder cannot be written to.
    """
    try:
        _refuse_foreign(folder, files)
        stale = _stale(folder, files)
        _replace(folder / MANIFEST, _manifest({**dict.fromkeys(stale, ""), **files}))
        for path, text in files.items():
            _replace(folder / path, text)
        for path in stale:
            (folder / path).unlink(missing_ok=True)
        _replace(folder / MANIFEST, _manifest(files))
    except OSError as error:
        raise _unusable(folder, error) from error


def _refuse_foreign(folder: Path, files: Mapping[str, str]) -> None:
    ours = _listed(folder)
    foreign = [
        path
        for path, text in files.items()
        if path not in ours and _read(folder / path) not in (None, text.encode())
    ]
    if foreign:
        raise MeshError(
            f"{folder} holds files that were not written by `mesh-stream slo`: "
            f"{', '.join(foreign)}; name another folder, or move them away"
        )


def _stale(folder: Path, files: Mapping[str, str]) -> list[str]:
    return sorted(_listed(folder) - files.keys())


def _listed(folder: Path) -> set[str]:
    """The paths in the folder's manifest; none where it has no manifest."""
    content = _read(folder / MANIFEST)
    if content is None:
        return set()
    paths = {line.partition("  ")[2] for line in content.decode(errors="replace").splitlines()}
    strays = [path for path in paths if not _is_inside(path)]
    if strays:
        # What is listed may be removed, so it is not taken from just any file.
        raise MeshError(
            f"{folder / MANIFEST} is not a manifest of `mesh-stream slo`: found {strays[0]!r}; "
            f"expected paths inside {folder}; move the file away"
        )
    return paths


def _is_inside(path: str) -> bool:
    place = PurePosixPath(path)
    return bool(path) and not place.is_absolute() and ".." not in place.parts


def _manifest(files: Mapping[str, str]) -> str:
    digests = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in files.items()}
    return "".join(f"{digests[path]}  {path}\n" for path in sorted(files))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _replace(path: Path, text: str) -> None:
    """Gives the file this text, whole or not at all; one that has it already stays untouched."""
    content = text.encode()
    if _read(path) == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _unusable(folder: Path, error: OSError) -> MeshError:
    where = error.filename or folder
    return MeshError(
        f"{where} cannot be used: {error.strerror or error}; expected a folder of files that may "
        f"be read and written; name another one with --out"
    )
