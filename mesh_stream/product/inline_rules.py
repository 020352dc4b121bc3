"""Quality rules written in `data_product.yaml`, in the words of `expect` without its long prefix.

quality:
  - {rule: not_null, column: order_id}
  - {rule: between, column: total_amount, min: 0, max: 1000000, action: warn}
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from mesh_stream.product.product import Action, Dimension
from mesh_stream.product.sla import UnreadableError
from mesh_stream.product.validation import Declared, ShortForm


def _scalar(value: object) -> object:
    if value is None or isinstance(value, dict | list):
        raise UnreadableError("a text, number or boolean")
    return value


Scalar = Annotated[
    Any, BeforeValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
Length = Annotated[int, Field(ge=0)]


class FileItem(Declared):
    """A file of checks beyond those in `src/quality`; its path alone for short."""

    file: str = Field(
        description="Path inside the product's folder.", examples=["src/shared_checks/money.py"]
    )


class ColumnRule(Declared):
    """What every rule on a column says."""

    column: str = Field(description="The fact's field.", examples=["order_id"])
    name: str | None = Field(
        default=None,
        description="The rule's name: a metric label. Left out: made of column and rule.",
        examples=["order_id_not_null"],
    )
    action: Action = Field(
        default=Action.DLQ,
        description=(
            "What happens to a record that breaks it: observe (count), warn (count and log), dlq "
            "(dead letter), fail (stop the product)."
        ),
        examples=["dlq"],
    )
    dimension: Dimension | None = Field(
        default=None,
        description="The quality dimension (ODCS); left out: the usual one of the rule.",
        examples=["completeness"],
    )


class NullRule(ColumnRule):
    """The column is not null, or is null."""

    rule: Literal["not_null", "null"] = Field(
        description="not_null: the column is present and not null; null: the reverse.",
        examples=["not_null"],
    )


class BetweenRule(ColumnRule):
    """The column lies between bounds, which it may equal unless strict."""

    rule: Literal["between"] = Field(
        description="The column lies between min and max.", examples=["between"]
    )
    min: Scalar | None = Field(
        default=None, description="Lower bound; left out: none.", examples=[0]
    )
    max: Scalar | None = Field(
        default=None, description="Upper bound; left out: none.", examples=[1000]
    )
    strict_min: bool = Field(
        default=False, description="Whether the lower bound itself is refused.", examples=[True]
    )
    strict_max: bool = Field(
        default=False, description="Whether the upper bound itself is refused.", examples=[True]
    )


class SetRule(ColumnRule):
    """The column is one of the values, or none of them."""

    rule: Literal["in_set", "not_in_set"] = Field(
        description="in_set: one of the values; not_in_set: none of them.", examples=["in_set"]
    )
    # Not a tuple: behind a validator that ran before it, pydantic forgets that it reads JSON.
    values: list[Scalar] = Field(description="The values.", examples=[["EUR", "USD"]])


class RegexRule(ColumnRule):
    """A regular expression describes the column, or is found nowhere in it."""

    rule: Literal["match_regex", "not_match_regex"] = Field(
        description=(
            "match_regex: the expression matches from the column's start; not_match_regex: it is "
            "found nowhere in the column."
        ),
        examples=["match_regex"],
    )
    regex: str = Field(description="The expression.", examples=["ord_[a-z0-9]+"])


class LengthRule(ColumnRule):
    """The column's length (characters, bytes or items) lies between bounds, both inclusive."""

    rule: Literal["length_between"] = Field(
        description="The column's length lies between min and max.", examples=["length_between"]
    )
    min: Length | None = Field(
        default=None, description="Least length; left out: none.", examples=[1]
    )
    max: Length | None = Field(
        default=None, description="Greatest length; left out: none.", examples=[64]
    )


class TypeRule(ColumnRule):
    """The column's value is already of the type when the transformation returns it."""

    rule: Literal["of_type"] = Field(
        description="The value is of the type, before it is encoded.", examples=["of_type"]
    )
    type: str = Field(description="A type's name, as in a field list.", examples=["string"])


InlineRule = NullRule | BetweenRule | SetRule | RegexRule | LengthRule | TypeRule


def _tag(item: Any) -> str | None:
    if not isinstance(item, dict):
        return None
    if "rule" in item:
        return str(item["rule"])
    return "file" if "file" in item else None


def _short_form(item: Any) -> Any:
    return {"file": item} if isinstance(item, str) else item


QualityItem = Annotated[
    Annotated[FileItem, Tag("file")]
    | Annotated[NullRule, Tag("not_null")]
    | Annotated[NullRule, Tag("null")]
    | Annotated[BetweenRule, Tag("between")]
    | Annotated[SetRule, Tag("in_set")]
    | Annotated[SetRule, Tag("not_in_set")]
    | Annotated[RegexRule, Tag("match_regex")]
    | Annotated[RegexRule, Tag("not_match_regex")]
    | Annotated[LengthRule, Tag("length_between")]
    | Annotated[TypeRule, Tag("of_type")],
    Discriminator(_tag),
    BeforeValidator(_short_form),
    ShortForm(
        {"type": "string", "description": "A file of checks.", "examples": ["src/checks.py"]}
    ),
]
"""One entry of `quality`: a file's path, or a rule."""
