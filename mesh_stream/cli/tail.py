"""`mesh-stream tail`: a product's facts, or its dead letters, as they come."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mesh_stream.cli.options import load, log_to_stderr, products_option
from mesh_stream.cli.printable import moment, printable
from mesh_stream.local.interrupts import Interrupts

if TYPE_CHECKING:
    from mesh_stream.consumer.dead_letters import DeadLetter
    from mesh_stream.consumer.facts import ConsumedFact
    from mesh_stream.pipeline.record import Message
    from mesh_stream.product.product import Product
    from mesh_stream.settings import Settings

_WAIT_SECONDS = 0.2


@click.command()
@click.argument("product")
@click.option(
    "--from-beginning", is_flag=True, help="All there are; else those that come from now."
)
@click.option("--max", "most", metavar="N", type=click.IntRange(1), help="End after N.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, and nothing else.")
@click.option("--dead-letters", is_flag=True, help="What the product rejected, and why.")
@click.option(
    "--payload", is_flag=True,
    help="With --dead-letters: also each record's own key and value, which may be personal data.",
)  # fmt: skip
@products_option
def tail(
    product: str,
    from_beginning: bool,
    most: int | None,
    as_json: bool,
    dead_letters: bool,
    payload: bool,
    products: str | None,
) -> int:
    """Print the facts of PRODUCT, decoded, as they come; read-committed. Ctrl-C ends it.

    With --json each line is a fact: decimals as text, because JSON's numbers would round them;
    timestamps in ISO 8601, UTC.
    """
    if payload and not dead_letters:
        raise click.UsageError("--payload goes with --dead-letters: facts are shown whole anyway")
    log_to_stderr(verbose=False)
    (chosen,), settings = load(products, [product])
    topic = chosen.dead_letter_topic if dead_letters else chosen.output.topic
    interrupts = Interrupts()
    interrupts.hurry.append(lambda: os._exit(0))
    records = _records(settings, chosen, topic, interrupts, from_beginning=from_beginning)
    if dead_letters:
        lines = _dead_letter_lines(records, as_json=as_json, payload=payload)
    else:
        lines = _fact_lines(records, settings, as_json=as_json)
    try:
        for count, line in enumerate(lines, 1):
            click.echo(line)
            if count == most:
                break
    except BrokenPipeError:
        # Whoever read our output has seen enough; what Python flushes at exit goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _records(
    settings: Settings,
    product: Product,
    topic: str,
    interrupts: Interrupts,
    *,
    from_beginning: bool,
) -> Iterator[Message]:
    """The topic's committed records, until interrupted.

    Raises:
        NotProvisionedError: There is no such topic.
        PlatformError: The broker cannot be reached, or refuses.
    """
    from mesh_stream.errors import NotProvisionedError
    from mesh_stream.kafka import topics
    from mesh_stream.kafka.client import reached
    from mesh_stream.kafka.reader import Reader

    if topic not in topics.describe(reached(settings), [topic]):
        raise NotProvisionedError(product.name, [f"topic {topic} does not exist"])
    with Reader(settings, client_id="mesh.tail") as reader:
        bounds = reader.bounds([topic])
        reader.start({at: low if from_beginning else high for at, (low, high) in bounds.items()})
        click.echo(f"reading {topic}, {len(bounds)} partitions; Ctrl-C ends it", err=True)
        with interrupts.heard():
            while not interrupts.requested.is_set():
                yield from reader.poll(_WAIT_SECONDS)


def _fact_lines(records: Iterator[Message], settings: Settings, *, as_json: bool) -> Iterator[str]:
    from mesh_stream.consumer.facts import decode
    from mesh_stream.errors import PayloadError
    from mesh_stream.kafka.registry import SchemaRegistry
    from mesh_stream.pipeline.avro_input import AvroReader
    from mesh_stream.pipeline.record import where

    show = _fact_json if as_json else _fact_text
    with SchemaRegistry(settings) as registry:
        reader = AvroReader(registry, reader=None)
        for message in records:
            try:
                yield show(decode(message, reader))
            except PayloadError as error:
                # It stands on a governed topic, but no worker wrote it.
                click.echo(f"{where(message)} is no fact: {error.reason}", err=True)


def _fact_json(fact: ConsumedFact) -> str:
    return msgspec.json.encode(fact.fields).decode()


def _fact_text(fact: ConsumedFact) -> str:
    if fact.fields is None:
        fields = "tombstone"
    else:
        fields = " ".join(f"{name}={_readable(value)}" for name, value in fact.fields.items())
    return f"{fact.place}  {moment(fact.written)}  {fields}"


def _dead_letter_lines(
    records: Iterator[Message], *, as_json: bool, payload: bool
) -> Iterator[str]:
    from mesh_stream.consumer.dead_letters import read_dead_letter

    for letter in map(read_dead_letter, records):
        if as_json:
            yield json.dumps(_dead_letter_document(letter, payload=payload))
        else:
            yield _dead_letter_text(letter, payload=payload)


def _dead_letter_document(letter: DeadLetter, *, payload: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "place": letter.place,
        "id": letter.id,
        "class": letter.fault_class,
        "rule": letter.rule,
        "reason": letter.reason,
        "origin": {
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
        },
        "product": letter.product,
        "product_version": letter.product_version,
        "contract_version": letter.contract_version,
        "first_seen": moment(letter.first_seen),
        "attempts": letter.attempts,
    }
    if payload:
        headers = [[name, _text_or_base64(value)] for name, value in letter.headers]
        own = {"key": letter.key, "value": letter.value}
        document |= {name: _text_or_base64(value) for name, value in own.items()}
        document["headers"] = headers
    return document


def _dead_letter_text(letter: DeadLetter, *, payload: bool) -> str:
    line = (
        f"{letter.place}  {moment(letter.first_seen)}  "
        f"{letter.fault_class or '?'}/{letter.rule or '?'}  from {letter.origin}  {letter.reason}"
    )
    line = printable(line)
    if payload:
        own = (("key", letter.key), ("value", letter.value), *letter.headers)
        lines = [f"    {printable(name)}: {_readable_bytes(value)}" for name, value in own]
        line = "\n".join([line, *lines])
    return line


def _readable_bytes(value: bytes | None) -> str:
    shown = _text_or_base64(value)
    return printable(shown) if isinstance(shown, str) else json.dumps(shown)


def _text_or_base64(value: bytes | None) -> Any:
    """Bytes as JSON can carry them: as text where they are UTF-8."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _readable(value: Any) -> str:
    """A value for people: text quoted as in JSON, a decimal with all its digits."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str | dict | list | bool | None):
        encoded = msgspec.json.encode(value).decode()
        return printable(encoded)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)
