"""Records what `expect` says in a product's checks: the vocabulary of Great Expectations.

A check is called once, at load, with a stand-in for the data. It can say what is expected, column
by column; it cannot look at values, for there are none yet. What it said is compiled once and
applied to every record. Two things differ from Great Expectations, since one record is judged at a
time: `mostly` and uniqueness are refused, with the reason. A regular expression must match from
the column's start, not anywhere in it: `ord_[a-z0-9]+` refuses `xord_1`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from mesh_stream.errors import Fault
from mesh_stream.product.product import (
    Action,
    Between,
    Check,
    Dimension,
    Holds,
    InSet,
    IsNull,
    LengthBetween,
    MatchesRegex,
    NotNull,
    OfType,
)
from mesh_stream.product.validation import one_of

Function = TypeVar("Function", bound=Callable[..., Any])

_MARK = "__mesh_quality_check__"
Bound = int | float | Decimal | str | None


@dataclass(frozen=True, slots=True)
class RecordedRule:
    """A rule as it was said; not yet held against the contract.

    Attributes:
        path: The file that says it.
        line: The line there.
        place: Its place in a document, empty for code.
        short: What its default name ends in, such as `not_null`.
        name: The name it was given, or None.
        column: The fact's field, or None for a predicate.
        check: What is checked.
        action: What happens to a record that breaks it.
        dimension: The quality dimension.
    """

    path: Path
    line: int
    place: str
    short: str
    name: str | None
    column: str | None
    check: Check
    action: Action
    dimension: Dimension


class DataTouched(Exception):
    """A check looked at data at load, where there is none."""


@dataclass(slots=True)
class Recorder:
    """Collects what the checks of one file say, and what is wrong with it.

    Attributes:
        path: The file, as the user named it.
        source: The same, as the interpreter knows it.
        rules: What was said so far.
        faults: What was wrong so far.
    """

    path: Path
    source: Path
    rules: list[RecordedRule] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def line(self) -> int:
        """Returns the line of the author's file that is being executed."""
        frame = inspect.currentframe()
        while frame is not None:
            if frame.f_code.co_filename == str(self.source):
                return frame.f_lineno
            frame = frame.f_back
        return 0

    def fault(self, found: str, expected: str, remedy: str = "") -> None:
        """Notes a fault at the line that is being executed."""
        self.faults.append(Fault(self.path, self.line(), "", found, expected, remedy))


def data_quality_check(function: Function) -> Function:
    """Marks a function as a check: it is called once, at load, to say what it expects."""
    setattr(function, _MARK, True)
    return function


def is_check(value: object) -> bool:
    """Whether a value is a function marked as a check."""
    return callable(value) and getattr(value, _MARK, False) is True


def expect(df: Any) -> Expectations:
    """Opens the vocabulary on what a check was given.

    Raises:
        TypeError: `df` is not what mesh-stream passes to a check.
    """
    if not isinstance(df, DataStandIn):
        raise TypeError(
            f"expect() takes what mesh-stream passes to a function marked @data_quality_check; "
            f"found {type(df).__name__}. To judge records in a test, use mesh_stream.testing"
        )
    return Expectations(object.__getattribute__(df, "_recorder"))


class DataStandIn:
    """What a check receives in place of data: it can be passed to `expect`, and nothing else."""

    __slots__ = ("_recorder",)
    __hash__ = None  # type: ignore[assignment]  # a stand-in is no value to compare

    def __init__(self, recorder: Recorder) -> None:
        object.__setattr__(self, "_recorder", recorder)

    def __getattribute__(self, name: str) -> Any:
        # The interpreter's own questions (isinstance, copy, debuggers) are no look at data.
        if name.startswith("__") and name.endswith("__"):
            return object.__getattribute__(self, name)
        _touched(self, f"df.{name}")

    def __setattr__(self, name: str, value: object) -> None:
        _touched(self, f"df.{name} = ...")

    def __getitem__(self, key: object) -> Any:
        _touched(self, f"df[{key!r}]")

    def __setitem__(self, key: object, value: object) -> None:
        _touched(self, f"df[{key!r}] = ...")

    def __len__(self) -> int:
        _touched(self, "len(df)")

    def __iter__(self) -> Any:
        _touched(self, "iteration over df")

    def __contains__(self, item: object) -> bool:
        _touched(self, f"{item!r} in df")

    def __bool__(self) -> bool:
        _touched(self, "df as a condition")

    def __eq__(self, other: object) -> bool:
        _touched(self, "a comparison of df")

    __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __eq__

    def __call__(self, *args: object, **kwargs: object) -> Any:
        _touched(self, "a call of df")


def _touched(df: DataStandIn, what: str) -> NoReturn:
    recorder: Recorder = object.__getattribute__(df, "_recorder")
    recorder.fault(
        f"{what}, in a check",
        "expect(df).<rule>(...) only: a check runs once, at load, when there is no data yet",
        "for a condition of your own use expect(df).record_to_satisfy(predicate, name=...)",
    )
    # Even a check that swallows this keeps the fault noted above.
    raise DataTouched


def call_checks(recorder: Recorder, checks: Iterable[Callable[[Any], object]]) -> None:
    """Calls checks with a stand-in; what they say, and what they do wrong, is in the recorder."""
    for check in checks:
        before = len(recorder.rules) + len(recorder.faults)
        try:
            check(DataStandIn(recorder))
        except DataTouched:
            continue
        except Exception as cause:  # noqa: BLE001  the author's code may raise anything
            line = _line_of(recorder, cause)
            found = f"{type(cause).__name__}: {cause}"
            expected = "a check that can be called at load"
            recorder.faults.append(Fault(recorder.path, line, "", found, expected))
        if len(recorder.rules) + len(recorder.faults) == before:
            line = check.__code__.co_firstlineno if inspect.isfunction(check) else 0
            name = getattr(check, "__name__", "check")
            fault = Fault(recorder.path, line, name, "no rule", "at least one expect(df).<rule>")
            recorder.faults.append(fault)


def _line_of(recorder: Recorder, cause: BaseException) -> int:
    line = 0
    trace = cause.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(recorder.source):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


class Expectations:
    """The rules that can be expected of a column, named as Great Expectations names them.

    Each takes, by keyword, the rule's `name`, its `action` (`observe`, `warn`, `dlq`, `fail`) and
    its `dimension`. A null passes every rule but `to_not_be_null`.
    """

    __slots__ = ("_recorder",)

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def column_values_to_not_be_null(self, column: str, **options: Any) -> None:
        """Expects the column to be present and not null."""
        self._add("not_null", column, NotNull(), Dimension.COMPLETENESS, options)

    def column_values_to_be_null(self, column: str, **options: Any) -> None:
        """Expects the column to be null."""
        self._add("null", column, IsNull(), Dimension.COMPLETENESS, options)

    def column_values_to_be_between(
        self,
        column: str,
        min_value: Bound = None,
        max_value: Bound = None,
        *,
        strict_min: bool = False,
        strict_max: bool = False,
        **options: Any,
    ) -> None:
        """Expects the column to lie between bounds, which it may equal unless strict."""
        check = Between(min_value, max_value, strict_min, strict_max)
        self._add("between", column, check, Dimension.ACCURACY, options)

    def column_values_to_be_in_set(
        self, column: str, value_set: Iterable[Any], **options: Any
    ) -> None:
        """Expects the column to be one of the values."""
        self._add("in_set", column, InSet(tuple(value_set)), Dimension.CONFORMITY, options)

    def column_values_to_not_be_in_set(
        self, column: str, value_set: Iterable[Any], **options: Any
    ) -> None:
        """Expects the column to be none of the values."""
        check = InSet(tuple(value_set), negated=True)
        self._add("not_in_set", column, check, Dimension.CONFORMITY, options)

    def column_values_to_match_regex(self, column: str, regex: str, **options: Any) -> None:
        """Expects the regular expression to match from the column's start."""
        self._add("match_regex", column, MatchesRegex(regex), Dimension.CONFORMITY, options)

    def column_values_to_not_match_regex(self, column: str, regex: str, **options: Any) -> None:
        """Expects the regular expression to be found nowhere in the column."""
        check = MatchesRegex(regex, negated=True)
        self._add("not_match_regex", column, check, Dimension.CONFORMITY, options)

    def column_value_lengths_to_be_between(
        self,
        column: str,
        min_value: int | None = None,
        max_value: int | None = None,
        **options: Any,
    ) -> None:
        """Expects the column's length to lie between two bounds, both inclusive."""
        check = LengthBetween(min_value, max_value)
        self._add("length_between", column, check, Dimension.CONFORMITY, options)

    def column_value_lengths_to_equal(self, column: str, value: int, **options: Any) -> None:
        """Expects the column to have exactly this length."""
        check = LengthBetween(value, value)
        self._add("length_equal", column, check, Dimension.CONFORMITY, options)

    def column_values_to_be_of_type(self, column: str, type_: str, **options: Any) -> None:
        """Expects the column's value to be of a type, named as in the schema."""
        check = OfType(python_types(type_))
        self._add("of_type", column, check, Dimension.CONFORMITY, options)

    def record_to_satisfy(
        self, predicate: Callable[[Any], object], *, name: str | None = None, **options: Any
    ) -> None:
        """Expects a predicate over the whole record to be true; it is named after its function."""
        named = name or getattr(predicate, "__name__", "")
        self._add(named, None, Holds(predicate), Dimension.CONSISTENCY, {**options, "name": named})

    def _add(
        self,
        short: str,
        column: str | None,
        check: Check,
        dimension: Dimension,
        options: dict[str, Any],
    ) -> None:
        action = Action(options.pop("action", Action.DLQ))
        dimension = Dimension(options.pop("dimension", dimension))
        name = options.pop("name", None)
        self._recorder.rules.append(
            RecordedRule(
                self._recorder.path,
                self._recorder.line(),
                "",
                short,
                name,
                column,
                check,
                action,
                dimension,
            )
        )


def python_types(name: str) -> tuple[type, ...]:
    """Returns the Python types of a declared type's name."""
    known: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "int": (int,),
        "long": (int,),
        "float": (float,),
        "double": (float,),
        "boolean": (bool,),
        "bytes": (bytes,),
        "decimal": (Decimal,),
    }
    return known[name]
