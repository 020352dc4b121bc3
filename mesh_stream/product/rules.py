"""The vocabulary of quality rules: what `expect` offers, named as Great Expectations names it.

Differences, since records are judged one at a time and before they are published: `mostly` and
uniqueness are refused, with the reason; there are no aggregates over a table. A regular expression
describes the column from its start, so that `ord_[a-z0-9]+` refuses `xord_1`, which Great
Expectations, searching anywhere, would let pass; `to_not_match_regex` searches anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

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
from mesh_stream.product.recorder import RecordedRule, Recorder, recorder_of
from mesh_stream.product.validation import did_you_mean, one_of

Function = TypeVar("Function", bound=Callable[..., Any])
Bound = int | float | Decimal | str | None

_MARK = "__mesh_quality_check__"

PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "int": (int,),
    "long": (int,),
    "float": (float,),
    "double": (float,),
    "boolean": (bool,),
    "bytes": (bytes,),
    "decimal": (Decimal,),
    "timestamp": (datetime,),
    "date": (date,),
    "time": (time,),
    "uuid": (UUID,),
}
"""A type's name in a field list -> what a value of it is in Python, for `of_type`."""

# The usual quality dimension of each rule, by the short name that its default name ends in.
DIMENSIONS: Mapping[str, Dimension] = {
    "not_null": Dimension.COMPLETENESS,
    "null": Dimension.COMPLETENESS,
    "between": Dimension.ACCURACY,
    "in_set": Dimension.CONFORMITY,
    "not_in_set": Dimension.CONFORMITY,
    "match_regex": Dimension.CONFORMITY,
    "not_match_regex": Dimension.CONFORMITY,
    "length_between": Dimension.CONFORMITY,
    "length_equal": Dimension.CONFORMITY,
    "of_type": Dimension.CONFORMITY,
    "satisfy": Dimension.CONSISTENCY,
}

_ONE_AT_A_TIME = "a rule over one record: records are judged one at a time, as they come"
_NOT_OFFERED = {
    "unique": (
        "one record does not know what came before, and a batch is no unit of a stream",
        "set output.key and compact the topic (settings: cleanup.policy: compact)",
    ),
    "mostly": (
        "one record has no share that may fail",
        "use action=warn or action=observe, and alert on the rule's ratio",
    ),
    "table": ("a table's figures are not known to one record", "alert on the metrics instead"),
}


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
    return Expectations(recorder_of(df))


class Expectations:
    """The rules that can be expected of a column, or of the whole record.

    Each takes, by keyword, the rule's `name`, its `action` (`observe`, `warn`, `dlq`, `fail`) and
    its `dimension`. A null passes every rule on a column but `to_not_be_null`.
    """

    __slots__ = ("_recorder",)

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def column_values_to_not_be_null(self, column: str, **options: Any) -> None:
        """Expects the column to be present and not null."""
        self._add("not_null", column, NotNull(), options)

    def column_values_to_be_null(self, column: str, **options: Any) -> None:
        """Expects the column to be null."""
        self._add("null", column, IsNull(), options)

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
        check = Between(min_value, max_value, bool(strict_min), bool(strict_max))
        self._add("between", column, check, options)

    def column_values_to_be_in_set(
        self, column: str, value_set: Iterable[Any], **options: Any
    ) -> None:
        """Expects the column to be one of the values."""
        self._add("in_set", column, InSet(_values(value_set)), options)

    def column_values_to_not_be_in_set(
        self, column: str, value_set: Iterable[Any], **options: Any
    ) -> None:
        """Expects the column to be none of the values."""
        self._add("not_in_set", column, InSet(_values(value_set), negated=True), options)

    def column_values_to_match_regex(self, column: str, regex: str, **options: Any) -> None:
        """Expects the regular expression to match from the column's start."""
        self._add("match_regex", column, MatchesRegex(regex), options)

    def column_values_to_not_match_regex(self, column: str, regex: str, **options: Any) -> None:
        """Expects the regular expression to be found nowhere in the column."""
        self._add("not_match_regex", column, MatchesRegex(regex, negated=True), options)

    def column_value_lengths_to_be_between(
        self,
        column: str,
        min_value: int | None = None,
        max_value: int | None = None,
        **options: Any,
    ) -> None:
        """Expects the column's length to lie between two bounds, both inclusive."""
        self._add("length_between", column, LengthBetween(min_value, max_value), options)

    def column_value_lengths_to_equal(self, column: str, value: int, **options: Any) -> None:
        """Expects the column to have exactly this length."""
        self._add("length_equal", column, LengthBetween(value, value), options)

    def column_values_to_be_of_type(self, column: str, type_: str, **options: Any) -> None:
        """Expects the column's value to be of a type, named as in a field list."""
        if type_ not in PYTHON_TYPES:
            remedy = did_you_mean(str(type_), PYTHON_TYPES)
            self._recorder.fault(f"the type {type_!r}", one_of(PYTHON_TYPES), remedy)
        else:
            self._add("of_type", column, OfType(PYTHON_TYPES[type_]), options)

    def record_to_satisfy(self, predicate: Any, *, name: str | None = None, **options: Any) -> None:
        """Expects a predicate over the whole record to be true.

        Args:
            predicate: A function of what the transformation returned, true where that is right;
                where it raises, the rule counts as broken.
            name: The rule's name; left out: the function's own.
            **options: `action` and `dimension`.
        """
        if not callable(predicate):
            self._recorder.fault(f"{type(predicate).__name__} as a predicate", "a function")
            return
        own = getattr(predicate, "__name__", "<lambda>")
        if name is None and own == "<lambda>":
            self._recorder.fault("a predicate without a name", "name=..., or a named function")
            return
        self._add("satisfy", None, Holds(predicate), {**options, "name": name or own})

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Refuses what is not offered, says why, and lets the check go on to its next rule."""
        if name.startswith("__"):
            raise AttributeError(name)
        known = [word for word in dir(type(self)) if not word.startswith("_")]
        if "unique" in name:
            reason, remedy = _NOT_OFFERED["unique"]
            self._recorder.fault(f"{name}, which is not offered: {reason}", _ONE_AT_A_TIME, remedy)
        elif name.removeprefix("expect_").startswith("table_"):
            reason, remedy = _NOT_OFFERED["table"]
            self._recorder.fault(f"{name}, which is not offered: {reason}", _ONE_AT_A_TIME, remedy)
        else:
            remedy = did_you_mean(name.removeprefix("expect_"), known)
            self._recorder.fault(f"the unknown rule {name}", one_of(known), remedy)
        return lambda *_args, **_options: None

    def _add(self, short: str, column: Any, check: Check, options: dict[str, Any]) -> None:
        note = self._recorder.fault
        before = len(self._recorder.faults)
        if not isinstance(column, str | None):
            note(f"{type(column).__name__} as a column", "the name of one field")
        if "mostly" in options:
            reason, remedy = _NOT_OFFERED["mostly"]
            note(f"mostly={options.pop('mostly')!r}: {reason}", "no mostly", remedy)
        action = _member(Action, options.pop("action", Action.DLQ), "action", note)
        dimension = _member(
            Dimension, options.pop("dimension", DIMENSIONS[short]), "dimension", note
        )
        name = options.pop("name", None)
        if name is not None and not isinstance(name, str):
            note(f"{name!r} as a name", "text")
        for option in options:
            words = ("name", "action", "dimension")
            note(f"the unknown option {option}", one_of(words), did_you_mean(option, words))
        if len(self._recorder.faults) > before or action is None or dimension is None:
            return
        recorder = self._recorder
        self._recorder.rules.append(
            RecordedRule(
                path=recorder.path,
                line=recorder.line(),
                field="",
                short=short,
                name=name,
                column=column,
                check=check,
                action=action,
                dimension=dimension,
            )
        )


Word = TypeVar("Word", Action, Dimension)


def _member(
    words: type[Word], word: object, option: str, note: Callable[[str, str, str], None]
) -> Word | None:
    try:
        return words(str(word))
    except ValueError:
        note(f"{option}={word!r}", one_of(words), did_you_mean(str(word), words))
        return None


def _values(value_set: Iterable[Any]) -> tuple[Any, ...]:
    if isinstance(value_set, str | bytes):
        raise TypeError("value_set is one text; expected a list of values")
    return tuple(value_set)
