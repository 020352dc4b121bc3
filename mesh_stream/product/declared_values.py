"""The values that declarations are made of: ids, topics, durations, shares; each with its pattern.

A value that is not of its form says what would be; the JSON Schema for editors has the patterns.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from mesh_stream.product.sla import UnreadableError, availability_share, duration_seconds
from mesh_stream.product.topic_settings import settings_as_text

ID = re.compile(r"[a-z][a-z0-9-]{1,48}")
TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
TOPIC_PATTERN = f"^(?!__){TOPIC.pattern}$"
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
Topic = Annotated[str, BeforeValidator(_topic), _text(TOPIC_PATTERN)]
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
