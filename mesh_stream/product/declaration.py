"""The shape of `data_product.yaml`: what may be written, field by field.

The models hold what the author wrote, checked for form only. Conventions for what is left out, and
everything that needs a second file, are the loader's. Field names are those of ODCS and ODPS where
these have one. Each field says what it does; the JSON Schema for editors is made of the same text.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from mesh_stream.product.inline_rules import QualityItem
from mesh_stream.product.product import Format
from mesh_stream.product.sla import UnreadableError, availability_share, duration_seconds
from mesh_stream.product.topic_settings import settings_as_text
from mesh_stream.product.validation import Declared, ShortForm

ID = re.compile(r"[a-z][a-z0-9-]{1,48}")
TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_TOPIC_PATTERN = f"^(?!__){TOPIC.pattern}$"
_VERSION = re.compile(r"(?:0|[1-9][0-9]{0,5})(?:\.(?:0|[1-9][0-9]{0,5})){2}")
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def _id(text: object) -> object:
    if isinstance(text, str) and not ID.fullmatch(text):
        raise UnreadableError(
            "a lower-case id of 2 to 49 letters, digits and dashes, a letter first"
        )
    return text


def _version(text: object) -> object:
    if isinstance(text, int | float) and not isinstance(text, bool):
        parts = [*str(text).split("."), "0", "0"][:3]
        raise UnreadableError("a version such as 1.0.0", f"write version: {'.'.join(parts)}")
    if isinstance(text, str) and not _VERSION.fullmatch(text):
        raise UnreadableError("a version such as 1.0.0: major, minor and patch")
    return text


def _filled(text: object) -> object:
    if isinstance(text, str) and not text.strip():
        raise UnreadableError("text that is not blank")
    return text


def _topic(text: object) -> object:
    if isinstance(text, str):
        if not TOPIC.fullmatch(text) or text in (".", ".."):
            raise UnreadableError(
                "a topic name: up to 249 of a-z, A-Z, 0-9, dot, underscore and dash"
            )
        if text.startswith("__"):
            raise UnreadableError(
                "a topic that is not the broker's own", "names with __ are Kafka's"
            )
    return text


def _field_name(text: object) -> object:
    if isinstance(text, str) and not _FIELD_NAME.fullmatch(text):
        raise UnreadableError("a field name of letters, digits and underscores, no digit first")
    return text


def _retention(text: object) -> object:
    return Decimal(-1) if text == "forever" else duration_seconds(text)


def _text(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern})


Id = Annotated[str, BeforeValidator(_id), _text(f"^{ID.pattern}$")]
Topic = Annotated[str, BeforeValidator(_topic), _text(_TOPIC_PATTERN)]
Version = Annotated[str, BeforeValidator(_version), _text(f"^{_VERSION.pattern}$")]
Text = Annotated[str, BeforeValidator(_filled), _text(r"\S")]
FieldName = Annotated[str, BeforeValidator(_field_name), _text(f"^{_FIELD_NAME.pattern}$")]
Duration = Annotated[
    Decimal, BeforeValidator(duration_seconds), _text(r"^[0-9]+(\.[0-9]+)?[ _]?[a-z]+$")
]
Retention = Annotated[
    Decimal, BeforeValidator(_retention), _text(r"^(forever|[0-9]+(\.[0-9]+)?[ _]?[a-z]+)$")
]
Share = Annotated[Decimal, BeforeValidator(availability_share), _text(r"^[0-9]+(\.[0-9]+)? ?%$")]
Settings = Annotated[
    dict[str, str],
    BeforeValidator(settings_as_text),
    WithJsonSchema(
        {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
    ),
]


Compatibility = Literal[
    "NONE",
    "BACKWARD",
    "BACKWARD_TRANSITIVE",
    "FORWARD",
    "FORWARD_TRANSITIVE",
    "FULL",
    "FULL_TRANSITIVE",
]
"""How a contract may evolve: the registry's levels."""


class SlaDeclaration(Declared):
    """What the product promises its consumers."""

    freshness: Duration = Field(
        description="The oldest a fact may be, from its event time to its arrival on the topic.",
        examples=["15_minutes", "30_seconds", "1_hour"],
    )
    availability: Share = Field(
        description="The share of time in which the freshness is kept.", examples=["99.9%"]
    )


class FieldDeclaration(Declared):
    """One field of the facts; `order_id: string` for short."""

    name: FieldName = Field(
        description="The field's name: letters, digits and underscores.", examples=["order_id"]
    )
    type: Text = Field(
        description=(
            "string, int, long, float, double, boolean, bytes, decimal, decimal(p,s), timestamp "
            "(milliseconds), timestamp-micros, date, time, uuid, array<...> or map<...>; "
            "a trailing ? makes it nullable."
        ),
        examples=["string", "decimal(18,2)", "timestamp?"],
    )
    description: Text | None = Field(
        default=None,
        description="What the field means; becomes `doc` in the registered schema.",
        examples=["Sum of all lines, without shipping"],
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        if isinstance(data, dict) and len(data) == 1:
            ((name, declared),) = data.items()
            return {"name": name, "type": declared}
        return data


class InputDeclaration(Declared):
    """One input port: a raw topic (its name alone for short) or another data product."""

    topic: Topic | None = Field(
        default=None, description="A raw topic. Either this or `product`.", examples=["raw.orders"]
    )
    product: Id | None = Field(
        default=None,
        description="Another data product, whose facts are read. Either this or `topic`.",
        examples=["orders-completed"],
    )
    format: Format | None = Field(
        default=None,
        description="How the values are written: json (default of a raw topic) or avro.",
        examples=["json", "avro"],
    )
    event_time: FieldName | None = Field(
        default=None,
        description=(
            "The input record's field that says when it happened; left out: the record's own "
            "timestamp."
        ),
        examples=["occurred_at"],
    )
    schema_file: Text | None = Field(
        default=None,
        alias="schema",
        description=(
            "For Avro of a raw topic: the file with the schema its records are read as; left out: "
            "each is read as it was written."
        ),
        examples=["schema/inputs/payment.avsc"],
    )
    transformation: Text | None = Field(
        default=None,
        description="What is applied to this input's records; left out: the product's.",
        examples=["src/transformations/completed.py:complete"],
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"topic": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _one_source(self) -> InputDeclaration:
        if (self.topic is None) == (self.product is None):
            found = "both topic and product" if self.topic else "neither topic nor product"
            raise UnreadableError("exactly one of topic and product", found=found)
        return self


class OutputDeclaration(Declared):
    """The output port: the governed topic `<domain>.<product>.v<major>`."""

    key: FieldName | None = Field(
        default=None,
        description=(
            "The fact's field that becomes the record key: equal keys stay in order. Left out: the "
            "input record's key stays."
        ),
        examples=["order_id"],
    )
    event_time: FieldName | None = Field(
        default=None,
        description=(
            "The fact's timestamp field that freshness is measured from. Left out: its only "
            "timestamp field, or the input's event time."
        ),
        examples=["completed_at"],
    )
    partitions: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        default=None,
        description="Partitions of the topic; left out: as governance says, else as the input.",
        examples=[6],
    )
    retention: Retention | None = Field(
        default=None,
        description="How long facts are kept, or `forever`; left out: as governance says.",
        examples=["90_days", "forever"],
    )
    settings: Settings = Field(
        default_factory=dict,
        description="Other settings of the topic, by the broker's own dotted names.",
        examples=[{"min.insync.replicas": 2}],
    )


class LimitsDeclaration(Declared):
    """What one record may cost; a record beyond it is a dead letter."""

    record_bytes: Annotated[int, Field(ge=1_000, le=100_000_000)] | None = Field(
        default=None, description="Largest encoded fact, in bytes.", examples=[1_000_000]
    )
    input_bytes: Annotated[int, Field(ge=1, le=100_000_000)] | None = Field(
        default=None,
        description="Largest input record that is decoded, in bytes.",
        examples=[8_000_000],
    )
    fanout: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Most facts that one input record may become.", examples=[10_000]
    )


class SupportDeclaration(Declared):
    """Where consumers ask (ODCS `support[]`)."""

    channel: Text = Field(description="The channel's name.", examples=["#orders-data"])
    url: Text | None = Field(
        default=None, description="Its address.", examples=["https://chat.company.com/orders-data"]
    )


_SHORT_FIELD = ShortForm(
    {
        "type": "object",
        "description": "A field's name and its type.",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": {"type": "string"},
        "examples": [{"order_id": "string"}],
    }
)
_SHORT_INPUT = ShortForm(
    {
        "type": "string",
        "pattern": _TOPIC_PATTERN,
        "description": "A raw topic of JSON.",
        "examples": ["raw.orders"],
    }
)


class ProductDeclaration(Declared):
    """One data product, as its team declares it."""

    name: Id = Field(
        description="The product's id, unique in the mesh; the folder is called so.",
        examples=["orders-completed"],
    )
    domain: Id | None = Field(
        default=None,
        description="The owning domain; left out: the name of the folder around the product's.",
        examples=["orders"],
    )
    owner: Text = Field(
        description="The team that answers for the product.", examples=["orders-team"]
    )
    description: Text = Field(
        description="What a fact of this product says, in a sentence.",
        examples=["Completed order facts for analytics"],
    )
    version: Version = Field(
        default="1.0.0",
        description="Semantic version of the contract; its major is in the topic's name.",
        examples=["1.0.0"],
    )
    status: Literal["proposed", "draft", "active", "deprecated", "retired"] = Field(
        default="active",
        description="Where in its life the product is (ODCS).",
        examples=["active"],
    )
    documentation: Text | None = Field(
        default=None,
        description="Where the product is documented for its consumers.",
        examples=["https://data.company.com/products/orders-completed"],
    )
    tags: tuple[Text, ...] = Field(
        default=(), description="Words to find the product by in the catalog.", examples=[["sales"]]
    )
    support: tuple[SupportDeclaration, ...] = Field(
        default=(),
        description="Where consumers ask; shown in the catalog.",
        examples=[[{"channel": "#orders-data"}]],
    )
    sla: SlaDeclaration = Field(
        description="What is promised.",
        examples=[{"freshness": "15_minutes", "availability": "99.9%"}],
    )
    fields: tuple[Annotated[FieldDeclaration, _SHORT_FIELD], ...] | None = Field(
        default=None,
        alias="schema",
        min_length=1,
        description="The facts' fields, in order; may be left out where schema/ has the contract.",
        examples=[[{"order_id": "string"}, {"total_amount": "decimal(18,2)"}]],
    )
    inputs: tuple[Annotated[InputDeclaration, _SHORT_INPUT], ...] | None = Field(
        default=None,
        min_length=1,
        description="What is read; left out: the raw topic raw.<domain>, as JSON.",
        examples=[["raw.orders"], [{"product": "orders-completed"}]],
    )
    output: OutputDeclaration = Field(
        default_factory=lambda: OutputDeclaration(),
        description="The governed topic.",
        examples=[{"key": "order_id", "partitions": 6, "retention": "90_days"}],
    )
    transformation: Text | None = Field(
        default=None,
        description=(
            "The function applied to each input record, as path or path:function; left out: the "
            "only file in src/transformations, or none: records are published as they come."
        ),
        examples=["src/transformations/completed.py:complete"],
    )
    quality: tuple[QualityItem, ...] = Field(
        default=(),
        description="Rules, or files of checks beyond those in src/quality.",
        examples=[[{"rule": "not_null", "column": "order_id"}]],
    )
    limits: LimitsDeclaration = Field(
        default_factory=lambda: LimitsDeclaration(),
        description="What one record may cost.",
        examples=[{"record_bytes": 1_000_000}],
    )


class ProductDocument(Declared):
    """The file `data_product.yaml`."""

    data_product: ProductDeclaration = Field(description="The data product this file declares.")


def json_schema() -> dict[str, Any]:
    """Returns the JSON Schema of `data_product.yaml`, for editors that complete and check it."""
    schema = ProductDocument.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
