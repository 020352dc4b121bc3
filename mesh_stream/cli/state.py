"""`mesh-stream state`: what a product remembers, by key, for whoever looks for a fault."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mesh_stream.cli.options import load, log_to_stderr, products_option
from mesh_stream.cli.printable import moment, printable
from mesh_stream.local.interrupts import Interrupts

if TYPE_CHECKING:
    from mesh_stream.mesh.remembered import Memory, Remembered, Span
    from mesh_stream.product.product import Product, State
    from mesh_stream.settings import Settings

_TELL_SECONDS = 2.0


@click.command()
@click.argument("product")
@click.option("--key", metavar="KEY", help="Only what is remembered under this key.")
@click.option(
    "--window", metavar="START", help="Only the window that begins then: ISO 8601, UTC unless said."
)
@click.option("--max", "most", metavar="N", type=click.IntRange(1), help="End after N.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, and nothing else.")
@products_option
def state(
    product: str,
    key: str | None,
    window: str | None,
    most: int | None,
    as_json: bool,
    products: str | None,
) -> int:
    """Print what PRODUCT remembers, by key and window, as of now.

    Read from its changelog, all of it, without a worker taking notice. States that were written by
    a type that the product no longer has are shown as plain data, and that is said.
    """
    log_to_stderr(verbose=False)
    (chosen,), settings = load(products, [product])
    if chosen.state is None:
        raise click.UsageError(
            f"{product} remembers nothing: it declares no `state`; `mesh-stream tail {product}` "
            "prints its facts"
        )
    text, start = _key(key, chosen.state), _start(window, chosen.state)
    memory = _memory(chosen, settings, text, start)
    found = _found(memory, chosen.state)
    if start is not None:
        found = (one for one in found if one.span is not None and one.span.start == start)
    header = () if as_json else _header(memory, chosen)
    lines = map(_json if as_json else _text, itertools.islice(found, most))
    try:
        for line in itertools.chain(header, lines):
            click.echo(line)
    except BrokenPipeError:
        # Whoever read our output has seen enough; what Python flushes at exit goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _key(given: str | None, state: State) -> bytes | None:
    """The bytes that a key is kept under."""
    from mesh_stream.pipeline.events import key_from_text, text_of_key

    if given is None:
        return None
    if state.key is None:
        raise click.UsageError("there is one state for the whole product: leave --key out")
    try:
        return text_of_key(key_from_text(state)(given.encode()))
    except ValueError as error:
        raise click.BadParameter(
            f"{given!r} is no {state.key_type.__name__}, which the state's key {state.key} is",
            param_hint="--key",
        ) from error


def _start(given: str | None, state: State) -> int | None:
    if given is None:
        return None
    if state.window is None:
        raise click.UsageError("the state has no windows: leave --window out")
    try:
        at = datetime.fromisoformat(given)
    except ValueError as error:
        raise click.BadParameter(
            f"{given!r} is no time; expected one as in 2026-03-01T12:00:00Z", param_hint="--window"
        ) from error
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return round(at.timestamp() * 1000)


def _memory(product: Product, settings: Settings, key: bytes | None, start: int | None) -> Memory:
    """What the changelog says.

    Raises:
        NotProvisionedError: There is none.
        click.Abort: Interrupted.
    """
    from mesh_stream.errors import NotProvisionedError
    from mesh_stream.kafka import topics
    from mesh_stream.kafka.client import reached
    from mesh_stream.kafka.reader import Reader
    from mesh_stream.mesh.remembered import read, wanted

    topic = product.changelog_topic
    if topic not in topics.describe(reached(settings), [topic]):
        raise NotProvisionedError(product.name, [f"changelog topic {topic} does not exist"])
    interrupts = Interrupts()
    interrupts.hurry.append(lambda: os._exit(1))
    with Reader(settings, client_id="mesh.state") as reader, interrupts.heard():
        memory = read(
            reader,
            product,
            wanted(key, start),
            progress=_progress(topic),
            stop=interrupts.requested.is_set,
        )
    if interrupts.requested.is_set():
        raise click.Abort
    return memory


def _progress(topic: str) -> Callable[[int, int], None]:
    due = time.monotonic() + _TELL_SECONDS

    def tell(done: int, total: int) -> None:
        nonlocal due
        if (now := time.monotonic()) >= due:
            due = now + _TELL_SECONDS
            click.echo(f"{topic}: read {done:,} of {total:,} offsets", err=True)

    return tell


def _found(memory: Memory, state: State) -> Iterator[Remembered]:
    """Every state: by its type or, where that is another now, as the plain data it is."""
    from mesh_stream.mesh.remembered import as_written, changes, states

    changed = changes(memory, state)
    if not changed:
        return states(memory, state)
    reasons = "".join(f"\n  - {reason}" for reason in changed)
    click.echo(
        f"the state is of another type than what was written, which is shown as it is:{reasons}",
        err=True,
    )
    return as_written(memory)


def _header(memory: Memory, product: Product) -> Iterator[str]:
    state = product.state
    assert state is not None
    source = product.repartition_topic if state.repartitions else product.inputs[0].topic
    yield (
        f"{product.name}: {len(memory.entries):,} entries in {product.changelog_topic}, of "
        f"{memory.records:,} records"
    )
    for number, meta in sorted(memory.metas.items()):
        line = f"  {source}[{number}]: next offset {meta.offset:,}"
        progress = meta.progress
        if progress.highest:
            line += f", watermark {moment(progress.value) or 'none yet'}"
            newest = ", ".join(f"{who} {moment(at)}" for who, at in progress.highest.items())
            line += f"; newest event of {newest}"
        if progress.idle:
            line += f"; silent: {', '.join(progress.idle)}"
        yield line


def _json(one: Remembered) -> str:
    document: dict[str, Any] = {"partition": one.partition, "key": one.key}
    if one.span is not None:
        document["window"] = _window(one.span)
    if one.last is not None:
        document["last_event"] = _time(one.last)
    if not one.fits:
        document["fits"] = False
    return msgspec.json.encode(document | {"state": msgspec.Raw(_encoded(one.state))}).decode()


def _text(one: Remembered) -> str:
    key = "(no key)" if one.key is None else printable(str(one.key))
    parts = [key]
    if one.span is not None:
        span = _window(one.span)
        parts.append(f"{span['start']} to {span['end'] or '?'}")
    if one.last is not None:
        parts.append(f"last event {_time(one.last)}")
    parts.append(printable(_encoded(one.state).decode()))
    if not one.fits:
        parts.append("(not of its type)")
    return "  ".join(parts)


def _window(span: Span) -> dict[str, Any]:
    return {"start": _time(span.start), "end": _time(span.end)}


def _time(millis: int | None) -> Any:
    # A time that no calendar has is shown as it is.
    return moment(millis) or millis


def _encoded(value: Any) -> bytes:
    """A state as JSON; with keys that JSON does not have (a tuple's, say), mappings are pairs."""
    try:
        return msgspec.json.encode(value)
    except TypeError:
        pass
    try:
        return msgspec.json.encode(_with_pairs(msgspec.to_builtins(value)))
    except TypeError:
        # A record as a key: plain data has no such thing either.
        return msgspec.json.encode(repr(value))


def _with_pairs(value: Any) -> Any:
    if isinstance(value, dict):
        return [[_with_pairs(key), _with_pairs(held)] for key, held in value.items()]
    if isinstance(value, list | tuple):
        return [_with_pairs(part) for part in value]
    return value
