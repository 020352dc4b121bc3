"""Calls a product's checks once, at load, and keeps what they say.

A check receives a stand-in for data. It can be passed to `expect`, and nothing else: there is no
data yet, and a rule that depended on it would be another rule for every record.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from mesh_stream.errors import Fault
from mesh_stream.product.product import Action, Check, Dimension


@dataclass(frozen=True, slots=True)
class RecordedRule:
    """A rule as it was said; not yet held against the contract.

    Attributes:
        path: The file that says it.
        line: The line there.
        field: Its place in a declaration; empty for code.
        short: What its default name ends in, such as `not_null`.
        name: The name it was given, or None.
        column: The fact's field, or None for a predicate.
        check: What is checked.
        action: What happens to a record that breaks it.
        dimension: The quality dimension.
    """

    path: Path
    line: int
    field: str
    short: str
    name: str | None
    column: str | None
    check: Check
    action: Action
    dimension: Dimension

    def fault(self, found: str, expected: str, remedy: str = "") -> Fault:
        """Returns a fault of this rule."""
        where = self.field or self.name or (f"{self.column} {self.short}" if self.column else "")
        return Fault(self.path, self.line, where, found, expected, remedy)


@dataclass(slots=True)
class Recorder:
    """What the checks of one file said, and what is wrong with it.

    Attributes:
        path: The file, as the user named it.
        source: The same, as the interpreter knows it.
        rules: What was said so far.
        faults: What was wrong so far.
    """

    path: Path
    source: str
    rules: list[RecordedRule] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def line(self) -> int:
        """Returns the line of the author's file that is being executed; 0 outside of it."""
        frame = inspect.currentframe()
        while frame is not None:
            if frame.f_code.co_filename == self.source:
                return frame.f_lineno
            frame = frame.f_back
        return 0

    def fault(self, found: str, expected: str, remedy: str = "") -> None:
        """Notes a fault at the line that is being executed."""
        self.faults.append(Fault(self.path, self.line(), "", found, expected, remedy))


class DataTouchedError(Exception):
    """A check looked at data at load, where there is none."""


def recorder_of(df: object) -> Recorder:
    """Returns the recorder behind a stand-in.

    Raises:
        TypeError: `df` is not what mesh-stream passes to a check.
    """
    if not isinstance(df, DataStandIn):
        raise TypeError(
            f"expect() takes what mesh-stream passes to a function marked @data_quality_check; "
            f"found {type(df).__name__}. To judge records in a test, use mesh_stream.testing"
        )
    recorder: Recorder = object.__getattribute__(df, "_recorder")
    return recorder


class DataStandIn:
    """What a check receives in place of data: every look at it is a fault."""

    __slots__ = ("_recorder",)
    __hash__ = None  # type: ignore[assignment]  # a stand-in is no value to compare

    def __init__(self, recorder: Recorder) -> None:
        object.__setattr__(self, "_recorder", recorder)

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            # The interpreter's own questions, such as isinstance(), are no look at data.
            return object.__getattribute__(self, name)
        return _touched(self, f"df.{name}")

    def __setattr__(self, name: str, value: object) -> None:
        _touched(self, f"df.{name} = ...")

    def __getitem__(self, key: object) -> Any:
        return _touched(self, f"df[{key!r}]")

    def __setitem__(self, key: object, value: object) -> None:
        _touched(self, f"df[{key!r}] = ...")

    def __delitem__(self, key: object) -> None:
        _touched(self, f"del df[{key!r}]")

    def __len__(self) -> int:
        return _touched(self, "len(df)")

    def __iter__(self) -> Any:
        return _touched(self, "iteration over df")

    def __contains__(self, item: object) -> bool:
        return _touched(self, f"{item!r} in df")

    def __bool__(self) -> bool:
        return _touched(self, "df as a condition")

    def __eq__(self, other: object) -> bool:
        return _touched(self, "a comparison of df")

    __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __eq__


def _touched(df: DataStandIn, what: str) -> NoReturn:
    # Noted before it is raised: a check that swallows the exception keeps the fault.
    recorder_of(df).fault(
        f"{what} in a check",
        "expect(df).<rule>(...) only: a check runs once, at load, when there is no data yet",
        "for a condition of your own use expect(df).record_to_satisfy(predicate, name=...)",
    )
    raise DataTouchedError(what)


def call_checks(recorder: Recorder, checks: Iterable[Callable[[Any], object]]) -> None:
    """Calls checks with a stand-in; what they say, and what they do wrong, is in the recorder."""
    for check in checks:
        name = getattr(check, "__name__", "the check")
        code = getattr(check, "__code__", None)
        first = code.co_firstlineno if code is not None else 0
        before = len(recorder.rules) + len(recorder.faults)
        if inspect.iscoroutinefunction(check) or inspect.isgeneratorfunction(check):
            found = "a check that is async or yields"
            fault = Fault(recorder.path, first, name, found, "a plain function")
            recorder.faults.append(fault)
            continue
        try:
            check(DataStandIn(recorder))
        except DataTouchedError:
            continue
        except (Exception, SystemExit) as cause:  # noqa: BLE001  whatever the author's code does
            found = f"{type(cause).__name__}: {cause}"
            expected = "a check that can be called at load, with one argument"
            fault = Fault(recorder.path, _line_of(recorder, cause) or first, name, found, expected)
            recorder.faults.append(fault)
        if len(recorder.rules) + len(recorder.faults) == before:
            fault = Fault(recorder.path, first, name, "no rule", "at least one expect(df).<rule>")
            recorder.faults.append(fault)


def _line_of(recorder: Recorder, cause: BaseException) -> int:
    line = 0
    trace = cause.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == recorder.source:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
