"""The shape of `data_product.yaml`: what may be written, field by field.

The models hold what the author wrote, checked for form only. Conventions for what is left out, and
everything that needs a second file, are the loader's. Field names are those of ODCS and ODPS where
these have one. Each field says what it does; the JSON Schema for editors is made of the same text.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mesh_stream.product.declared_values import (
    TOPIC_PATTERN,
    Duration,
    FieldName,
    Id,
    Retention,
    Settings,
    Share,
    Text,
    Topic,
    Version,
)
from mesh_stream.product.inline_rules import QualityItem
from mesh_stream.product.product import Format
from mesh_stream.product.sla import UnreadableError
from mesh_stream.product.state_declaration import StateDeclaration
from mesh_stream.product.validation import Declared, ShortForm

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
    key: FieldName | None = Field(
        default=None,
        description=(
            "The field that the records of a raw topic are keyed by. A state with the same key "
            "then takes them as they come; it checks every record's key."
        ),
        examples=["sku"],
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
            "state's key, or, without a state, the input record's key."
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
    """What one record may cost, a record beyond it is a dead letter; and what a worker may."""

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
    cached_states: Annotated[int, Field(ge=1_000, le=100_000_000)] | None = Field(
        default=None,
        description="Most states that a worker keeps in memory; the others are read from disk.",
        examples=[200_000],
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
        "pattern": TOPIC_PATTERN,
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
    state: StateDeclaration | None = Field(
        default=None,
        description=(
            "What the product remembers, by key, and when it says so; the function fold in "
            "src/transformations says how events change it."
        ),
        examples=[{"key": "sku"}, {"key": "user_id", "window": {"tumbling": "1_hour"}}],
    )
    quality: tuple[QualityItem, ...] = Field(
        default=(),
        description="Rules, or files of checks beyond those in src/quality.",
        examples=[[{"rule": "not_null", "column": "order_id"}]],
    )
    limits: LimitsDeclaration = Field(
        default_factory=lambda: LimitsDeclaration(),
        description="What one record, and a worker, may cost.",
        examples=[{"record_bytes": 1_000_000}],
    )


class ProductDocument(Declared):
    """The file `data_product.yaml`."""

    data_product: ProductDeclaration = Field(description="The data product this file declares.")


def json_schema() -> dict[str, Any]:
    """Returns the JSON Schema of `data_product.yaml`, for editors that complete and check it."""
    schema = ProductDocument.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
