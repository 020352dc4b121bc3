"""Finds the files of a product's folder, by convention and by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

from mesh_stream.errors import DeclarationError, Fault
from mesh_stream.product.authored_code import AuthoredCode
from mesh_stream.product.product import Transformation
from mesh_stream.product.recorder import RecordedRule, Recorder, call_checks
from mesh_stream.product.rules import is_check
from mesh_stream.product.transformation import (
    Apart,
    has_transformation,
    load_transformation,
    none_apart,
)
from mesh_stream.product.validation import Faults, did_you_mean

KNOWN = {"": ("src", "schema", "tests", "docs"), "src": ("transformations", "quality")}


def misnamed(folder: Path) -> Iterator[Fault]:
    """Yields what is almost called as a convention asks: it would be passed over in silence."""
    for inside, known in KNOWN.items():
        for entry in sorted((folder / inside).glob("*")):
            close = difflib.get_close_matches(entry.stem, known, n=1, cutoff=0.75)
            if close and entry.name not in known and entry.suffix in ("", ".py"):
                yield Fault(entry, 0, "", entry.name, f"{close[0]}/", "rename it")


def file_inside(folder: Path, path: Path) -> None:
    """Checks that a file, its links followed, is inside the product's folder.

    Raises:
        DeclarationError: It is outside.
    """
    if not path.resolve().is_relative_to(folder.resolve()):
        fault = Fault(path, 0, "", "a link out of the product's folder", "a file inside it")
        raise DeclarationError([fault])


def named_file(
    folder: Path,
    text: str,
    suffixes: tuple[str, ...],
    fault: Callable[..., Fault],
) -> Path:
    """Returns the file that a declaration names, relative to the product's folder.

    Args:
        folder: The product's folder.
        text: What was declared.
        suffixes: What its name may end in.
        fault: Makes the fault at the place of the declaration.

    Raises:
        DeclarationError: There is no such file, or it is outside the folder.
    """
    path = folder / text
    if Path(text).is_absolute() or ".." in Path(text).parts or "\0" in text:
        expected = "a path inside the product's folder, relative to it"
        raise DeclarationError([fault(repr(text), expected)])
    if path.suffix not in suffixes:
        raise DeclarationError([fault(repr(text), f"a {' or '.join(suffixes)} file")])
    if not path.is_file():
        there = [str(file.relative_to(folder)) for file in sorted(folder.rglob(f"*{path.suffix}"))]
        remedy = did_you_mean(text, there)
        raise DeclarationError([fault(repr(text), "a file that exists", remedy)])
    file_inside(folder, path)
    return path


def quality_files(folder: Path) -> list[Path]:
    """Returns the files of checks that a product has by convention."""
    return _code_files(folder / "src" / "quality", (".py",))


def _code_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix in suffixes
        and path.is_file()
        and not any(part.startswith(("_", ".")) for part in path.relative_to(folder).parts)
    ]


def recorded_rules(code: AuthoredCode, faults: Faults) -> list[RecordedRule]:
    """Returns what the checks in `src/quality` say; what is wrong with them goes to `faults`."""
    return [rule for path in quality_files(code.folder) for rule in file_rules(code, path, faults)]


def file_rules(code: AuthoredCode, path: Path, faults: Faults) -> list[RecordedRule]:
    """Returns what the checks in one file say; what is wrong with them goes to `faults`."""
    module = faults.attempt(partial(_module, code, path))
    if module is None:
        return []
    checks = {
        id(value): value
        for value in vars(module).values()
        if is_check(value) and getattr(value, "__module__", "") == module.__name__
    }
    if not checks:
        expected = "a function marked @data_quality_check"
        remedy = "a file for others to import begins with an underscore"
        faults.found.append(Fault(path, 0, "", "no check", expected, remedy))
    recorder = Recorder(path, code.source(path))
    call_checks(recorder, checks.values())
    faults.found += recorder.faults
    return recorder.rules


def _module(code: AuthoredCode, path: Path) -> ModuleType:
    file_inside(code.folder, path)
    return code.module(path)


def transformation_files(folder: Path) -> list[Path]:
    """Returns the files of a product's transformations and folds."""
    return _code_files(folder / "src" / "transformations", (".py", ".sql"))


def conventional_transformation(
    code: AuthoredCode, apart: Apart = none_apart
) -> Transformation | None:
    """Loads the only file in `src/transformations`; None where there is none.

    Args:
        code: The product's Python.
        apart: Which functions are no transformations; a file of none but these is passed over.

    Raises:
        DeclarationError: There are several, or it holds nothing that can be applied.
    """
    files = transformation_files(code.folder)
    for path in files:
        file_inside(code.folder, path)
    if apart is not none_apart:
        files = [path for path in files if has_transformation(code, path, apart)]
    if not files:
        return None
    if len(files) > 1:
        folder = code.folder / "src" / "transformations"
        names = ", ".join(str(path.relative_to(folder)) for path in files)
        remedy = f"say which: transformation: {files[0].relative_to(code.folder)}"
        raise DeclarationError([Fault(folder, 0, "", f"several files ({names})", "one", remedy)])
    return load_transformation(code, files[0], None, apart)
