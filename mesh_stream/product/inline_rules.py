"""Quality rules written in `data_product.yaml`, in the words of `expect` without its long prefix."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from mesh_stream.product.product import Action, Dimension
from mesh_stream.product.validation import Declared

Scalar = str | int | float | bool
Bound = int | float | str | None


class FileItem(Declared):
    """A file of checks."""

    file: str = Field(description="Path inside the product's folder.")


class _ColumnRule(Declared):
    column: str = Field(description="The fact's field.", examples=["order_id"])
    name: str | None = Field(
        None,
        description="The rule's name: a metric label. Left out: made of column and rule.",
        examples=["order_id_not_null"],
    )
    action: Action = Field(
        Action.DLQ,
        description=(
            "What happens to a record that breaks it: observe (count), warn (count and log), dlq "
            "(dead letter), fail (stop the product)."
        ),
        examples=["dlq"],
    )
    dimension: Dimension | None = Field(
        None,
        description="The quality dimension (ODCS); left out: the usual one of the rule.",
        examples=["completeness"],
    )


class NotNullRule(_ColumnRule):
    """The column is not null."""

    rule: Literal["not_null"]


class NullRule(_ColumnRule):
    """The column is null."""

    rule: Literal["null"]


class BetweenRule(_ColumnRule):
    """The column lies between bounds, which it may equal unless strict."""

    rule: Literal["between"]
    min: Bound = Field(None, description="The lower bound; left out: none.", examples=[0])
    max: Bound = Field(None, description="The upper bound; left out: none.", examples=[1_000_000])
    strict_min: bool = Field(False, description="Whether the lower bound itself is refused.")
    strict_max: bool = Field(False, description="Whether the upper bound itself is refused.")


class InSetRule(_ColumnRule):
    """The column is one of the values, or none of them."""

    rule: Literal["in_set", "not_in_set"]
    values: tuple[Scalar, ...] = Field(description="The values.", examples=[["EUR", "USD"]])


class RegexRule(_ColumnRule):
    """A regular expression matches the column from its start, or is found nowhere in it."""

    rule: Literal["match_regex", "not_match_regex"]
    regex: str = Field(description="The expression.", examples=["ord_[a-z0-9]+"])


class LengthRule(_ColumnRule):
    """The column's length lies between bounds, both inclusive."""

    rule: Literal["length_between"]
    min: int | None = Field(None, description="Least length; left out: none.", examples=[1])
    max: int | None = Field(None, description="Greatest length; left out: none.", examples=[64])


class TypeRule(_ColumnRule):
    """The column's value is of the type."""

    rule: Literal["of_type"]
    type: str = Field(description="A type's name, as in the schema.", examples=["string"])


def _tag(item: Any) -> str | None:
    if isinstance(item, dict):
        if "file" in item and "rule" not in item:
            return "file"
        return str(item["rule"]) if "rule" in item else None
    return getattr(item, "rule", "file")


def _short_form(item: Any) -> Any:
    return {"file": item} if isinstance(item, str) else item


QualityItem = Annotated[
    Annotated[FileItem, Tag("file")]
    | Annotated[NotNullRule, Tag("not_null")]
    | Annotated[NullRule, Tag("null")]
    | Annotated[BetweenRule, Tag("between")]
    | Annotated[InSetRule, Tag("in_set")]
    | Annotated[InSetRule, Tag("not_in_set")]
    | Annotated[RegexRule, Tag("match_regex")]
    | Annotated[RegexRule, Tag("not_match_regex")]
    | Annotated[LengthRule, Tag("length_between")]
    | Annotated[TypeRule, Tag("of_type")],
    Discriminator(_tag),
    BeforeValidator(_short_form),
]
"""One entry of `quality`: a file's path, or a rule."""
