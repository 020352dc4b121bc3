"""Writes what a driver is given as it would stand on an input topic: JSON, Avro, headers, keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any
from uuid import UUID

import fastavro
import msgspec

from mesh_stream.errors import ContractError
from mesh_stream.pipeline.avro_input import ID_HEADER
from mesh_stream.pipeline.encode import compile_encode
from mesh_stream.pipeline.events import text_of_key
from mesh_stream.pipeline.identity import contract_type
from mesh_stream.pipeline.record import Headers
from mesh_stream.pipeline.shape import Shape
from mesh_stream.pipeline.windows import EPOCH
from mesh_stream.product.product import Contract, Format, Input, Output
from mesh_stream.testing.memory import MemoryMessage, MemorySchemas

SentHeaders = Mapping[str, str | bytes | None] | Sequence[tuple[str, str | bytes | None]]
"""Headers by name, or in order where a name stands twice; text is sent as its UTF-8."""

_json = msgspec.json.Encoder(decimal_format="number")


class Writer:
    """Writes values.

    Args:
        schemas: Where the schemas that Avro is written with are registered.
        input_bytes: The largest value.
    """

    def __init__(self, schemas: MemorySchemas, *, input_bytes: int) -> None:
        self._schemas = schemas
        self._input_bytes = input_bytes
        self._ids: dict[str, int] = {}

    def value(self, record: Any, port: Input, schema: Any) -> bytes | None:
        """Data as the input's format, by another schema where one is said; bytes as they are."""
        if record is None or isinstance(record, bytes):
            return record
        if isinstance(record, str):
            return record.encode()
        if port.format is Format.JSON:
            return _json.encode(record)
        if schema is not None:
            return self.frame(record, schema)[0]
        if port.reader is None:
            raise ValueError(
                f"the input {port.topic} declares no schema; say which one the record is written "
                f"with: send(record, schema=...)"
            )
        return self._written(record, port.reader)

    def _written(self, record: Any, contract: Contract) -> bytes:
        """Data as the upstream product would publish it: by the contract, and as strictly."""
        try:
            typed = msgspec.json.decode(_json.encode(record), type=contract_type(contract))
            encode = compile_encode(
                contract,
                output=Output("", None, None, None, {}),
                schema_id=self._id_of(contract),
                record_bytes=self._input_bytes,
                shape=Shape(type(typed)),
            )
            return encode(typed, MemoryMessage("", None)).value
        except (msgspec.ValidationError, ContractError) as error:
            raise ValueError(
                f"the record does not fit the input's own schema: {error}; to send what another "
                f"writer made, say send(record, schema=...), or send bytes"
            ) from error

    def _id_of(self, contract: Contract) -> int:
        if contract.canonical not in self._ids:
            number = self._schemas.register(dict(contract.schema))
            assert isinstance(number, int)
            self._ids[contract.canonical] = number
        return self._ids[contract.canonical]

    def frame(self, record: Any, schema: Any, *, header: bool = False) -> tuple[bytes, Headers]:
        """Data as registry-framed Avro, and the headers it needs; see `ProductDriver.frame`."""
        body = BytesIO()
        fastavro.schemaless_writer(body, fastavro.parse_schema(schema, _force=True), record)
        number = self._schemas.register(schema)
        assert isinstance(number, int)
        if header:
            guid = UUID(int=number)
            self._schemas.register(schema, schema_id=guid)
            return body.getvalue(), [(ID_HEADER, b"\x01" + guid.bytes)]
        return b"\x00" + number.to_bytes(4, "big") + body.getvalue(), []


def headers_of(headers: SentHeaders | None) -> Headers | None:
    """Headers as a message has them."""
    if headers is None:
        return None
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [(name, value.encode() if isinstance(value, str) else value) for name, value in pairs]


def happened(record: Any, port: Input) -> int | None:
    """When a record says that it happened, in ms since the epoch; None where it does not say."""
    if port.event_time is None or not isinstance(record, Mapping):
        return None
    said = record.get(port.event_time)
    if isinstance(said, str):
        try:
            said = datetime.fromisoformat(said)
        except ValueError:
            return None
    if isinstance(said, datetime) and said.tzinfo is not None:
        return (said - EPOCH) // timedelta(milliseconds=1)
    return said if isinstance(said, int) and not isinstance(said, bool) else None


def key_of(record: Any, port: Input) -> bytes | None:
    """A record's key by its input's declaration."""
    if port.key is None or not isinstance(record, Mapping) or record.get(port.key) is None:
        return None
    return text_of_key(record[port.key])
