"""Loads the Python files of a product: its transformations and its checks.

A product's folder is made a package of its own, named after its place on disk. So two products, or
two roots in one process, never share a module; siblings import each other relatively; and
`sys.path` stays as it is. Every load executes each file anew, once.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import traceback
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mesh_stream.errors import DeclarationError, Fault


@dataclass(slots=True)
class AuthoredCode:
    """The Python files of one product's folder.

    Attributes:
        folder: The product's folder, as the user named it.
        root: The same, resolved.
        package: The name of the package that the folder is.
    """

    folder: Path
    root: Path = field(init=False)
    package: str = field(init=False)
    _executed: dict[Path, types.ModuleType | DeclarationError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = self.folder.resolve()
        digest = hashlib.sha256(str(self.root).encode()).hexdigest()[:16]
        self.package = f"mesh_product_{digest}"
        for name in [name for name in sys.modules if name.split(".")[0] == self.package]:
            del sys.modules[name]
        package = types.ModuleType(self.package)
        package.__path__ = [str(self.root)]
        sys.modules[self.package] = package

    def source(self, path: Path) -> str:
        """Returns a file's name as tracebacks write it."""
        return str(self.root / path.relative_to(self.folder))

    def module(self, path: Path) -> types.ModuleType:
        """Executes a file of the folder, or returns what its first execution in this load made.

        Raises:
            DeclarationError: The file does not compile, or raises when it is executed.
        """
        if path not in self._executed:
            try:
                self._executed[path] = self._execute(path)
            except DeclarationError as cause:
                # Kept as well: a file that two inputs name is not executed twice to fail twice.
                self._executed[path] = cause
        made = self._executed[path]
        if isinstance(made, DeclarationError):
            raise made
        return made

    def _execute(self, path: Path) -> types.ModuleType:
        relative = path.relative_to(self.folder).with_suffix("")
        if any("." in part for part in relative.parts):
            fault = Fault(path, 0, "", f"a dot in {relative}", "no dot in names of Python modules")
            raise DeclarationError([fault])
        name = ".".join((self.package, *relative.parts))
        try:
            with _without_bytecode():
                return importlib.import_module(name)
        except (Exception, SystemExit) as cause:
            raise DeclarationError([self._fault(path, cause)]) from cause

    def _fault(self, path: Path, cause: BaseException) -> Fault:
        """Finds the author's line in what went wrong, even deep in a library's call."""
        if isinstance(cause, SyntaxError) and self._is_ours(cause.filename):
            at, line = Path(str(cause.filename)), cause.lineno or 0
            found = f"{type(cause).__name__}: {cause.msg}"
            return Fault(self._shown(at), line, "", found, "Python that compiles")
        at, line = path, 0
        for frame in traceback.extract_tb(cause.__traceback__):
            if self._is_ours(frame.filename):
                at, line = self._shown(Path(frame.filename)), frame.lineno or 0
        remedy = ""
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            sibling = path.parent / f"{cause.name.split('.')[0]}.py"
            if sibling.exists():
                remedy = f"import a file beside this one as: from . import {sibling.stem}"
        found = f"{type(cause).__name__}: {cause}"
        return Fault(at, line, "", found, "Python that can be imported", remedy)

    def _is_ours(self, filename: str | None) -> bool:
        return filename is not None and Path(filename).is_relative_to(self.root)

    def _shown(self, path: Path) -> Path:
        return self.folder / path.relative_to(self.root)


@contextmanager
def _without_bytecode() -> Iterator[None]:
    """Keeps `__pycache__` out of product folders: stale bytecode misleads, some are read-only."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
