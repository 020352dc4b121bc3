"""`mesh-stream replay`: a JSON-lines or CSV file onto a raw topic."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mesh_stream.cli.options import log_to_stderr, products_option, settings_of
from mesh_stream.local.interrupts import Interrupts

if TYPE_CHECKING:
    from rich.console import Console

    from mesh_stream.errors import Fault
    from mesh_stream.kafka.raw_file import Checked, Reading
    from mesh_stream.kafka.topics import Topic
    from mesh_stream.kafka.writer import RawRecord, Sent

# How often the count is shown: by the bar, and in lines where there is no terminal.
_BAR_SECONDS, _LINE_SECONDS = 0.2, 5.0


@click.command()
@click.argument("topic")
@click.argument(
    "file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True)
)
@click.option("--key", metavar="FIELD", help="The field whose value, as text, is the record key.")
@click.option(
    "--event-time", metavar="FIELD",
    help="The field that becomes the record's timestamp: ISO 8601 (UTC where it names no offset) "
    "or milliseconds since the epoch.  [default: the time of sending]",
)  # fmt: skip
@click.option(
    "--rate", metavar="N", type=click.FloatRange(0, min_open=True),
    help="Records a second.  [default: as fast as it goes]",
)  # fmt: skip
@click.option("--limit", metavar="N", type=click.IntRange(1), help="Only the first N records.")
@products_option
def replay(
    topic: str,
    file: Path,
    key: str | None,
    event_time: str | None,
    rate: float | None,
    limit: int | None,
    products: str | None,
) -> None:
    """Put the records of FILE onto the raw topic TOPIC.

    FILE has JSON lines (one object a line, sent as it stands) or CSV with a header (each row
    becomes a JSON object of strings), told by its suffix, else by its content. `-` reads JSON lines
    from standard input.

    A file is checked whole before its first record is sent: where a line is wrong, none is. Lines
    from standard input are sent as they come, up to the first that is wrong.
    """
    from rich.console import Console

    from mesh_stream.kafka.client import reached
    from mesh_stream.kafka.raw_file import STANDARD_INPUT, Checked, Reading, check, read
    from mesh_stream.kafka.raw_topic import raw_topic
    from mesh_stream.kafka.writer import Sent, send

    log_to_stderr(verbose=False)
    reading = Reading(key, event_time, limit)
    settings = settings_of(products)
    there = raw_topic(reached(settings), topic, products=settings.products)
    console = Console(stderr=True)
    piped = str(file) == "-"
    path = STANDARD_INPUT if piped else file
    with _opened(None if piped else file) as content:
        checked = None
        # What can be read only once cannot be checked before.
        if not piped and file.is_file():
            with console.status(f"checking {file}"):
                checked = check(content, path, reading)
            content.seek(0)
        warned = _warn(there, reading, checked or Checked(), already=frozenset())
        sent, seen, began = Sent(), Checked(), time.monotonic()
        interrupts = Interrupts()
        interrupts.hurry.append(lambda: os._exit(1))
        try:
            with interrupts.heard(), _progress(console, topic, checked, sent) as show:

                def count(record: RawRecord) -> None:
                    seen.add(record)
                    show()

                records = _good(read(content, path, reading), interrupts, count)
                send(settings, topic, records, sent, rate=rate, stop=interrupts.requested)
        finally:
            _conclude(topic, sent, checked, time.monotonic() - began)
        if interrupts.requested.is_set():
            raise click.Abort
        if checked is None:
            _warn(there, reading, seen, already=warned)


@contextmanager
def _opened(file: Path | None) -> Iterator[BufferedReader]:
    if file is None:
        assert isinstance(sys.stdin.buffer, BufferedReader)
        yield sys.stdin.buffer
        return
    try:
        content = file.open("rb")
    except OSError as error:
        raise click.FileError(str(file), error.strerror or str(error)) from error
    with content:
        yield content


def _warn(
    topic: Topic, reading: Reading, checked: Checked, *, already: frozenset[str]
) -> frozenset[str]:
    from mesh_stream.kafka.raw_topic import concerns

    sentences = list(concerns(topic, reading, checked, now=time.time_ns() // 1_000_000))
    for sentence in sentences:
        if sentence not in already:
            click.echo(f"warning: {sentence}", err=True)
    return already.union(sentences)


def _good(
    lines: Iterator[RawRecord | Fault],
    interrupts: Interrupts,
    seen: Callable[[RawRecord], object],
) -> Iterator[RawRecord]:
    """The lines as records; ends at the first that is none, or where interrupted.

    Raises:
        RawFileError: A line is no record.
        KeyboardInterrupt: Interrupted while waiting for a line.
    """
    from mesh_stream.kafka.raw_file import RawFileError
    from mesh_stream.kafka.writer import RawRecord

    while True:
        # Only here: an exception that comes while the client library calls back is lost in it.
        with interrupts.abruptly():
            line = None if interrupts.requested.is_set() else next(lines, None)
        if line is None:
            return
        if not isinstance(line, RawRecord):
            raise RawFileError([line], 1)
        seen(line)
        yield line


@contextmanager
def _progress(
    console: Console, topic: str, checked: Checked | None, sent: Sent
) -> Iterator[Callable[[], None]]:
    """Yields what shows how far it is, where that is due; cheap enough to call for each record."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    due = time.monotonic()

    def lines() -> None:
        nonlocal due
        if (now := time.monotonic()) >= due and sent.delivered:
            due = now + _LINE_SECONDS
            click.echo(f"{sent.delivered:,} records sent", err=True)

    def bar() -> None:
        nonlocal due
        if (now := time.monotonic()) >= due:
            due = now + _BAR_SECONDS
            progress.update(task, completed=sent.delivered)

    if not console.is_terminal:
        yield lines
        return
    columns = (TextColumn(topic), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(topic, total=checked.records if checked else None)
        try:
            yield bar
        finally:
            progress.update(task, completed=sent.delivered)


def _conclude(topic: str, sent: Sent, checked: Checked | None, seconds: float) -> None:
    """Say how many records are on the topic: also, and above all, where it ended early."""
    whole = checked is None or sent.delivered == checked.records
    of = "" if whole or checked is None else f" of {checked.records:,}"
    noun = "record" if sent.delivered == 1 and whole else "records"
    click.echo(f"sent {sent.delivered:,}{of} {noun} to {topic} in {seconds:.1f} s", err=True)
    if sent.unsure:
        click.echo(f"{sent.unsure:,} more had no answer: they may be on the topic or not", err=True)
