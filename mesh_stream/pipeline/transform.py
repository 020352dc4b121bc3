"""The second stage: the product's own function, held so that its failures are a record's failures.

Invariant: what leaves this stage is None, a `Filtered`, one record, or a list of records. Nothing
the function raises passes as it is, except a platform fault, which is not the record's.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from mesh_stream.errors import CodeError, ContractError, PlatformError
from mesh_stream.pipeline.record import Message, SourceContext
from mesh_stream.product.product import Transformation

Transform = Callable[[Any, Message], Any]


def compile_transform(transformation: Transformation | None, *, fanout: int) -> Transform:
    """Make the stage from the declared function; without one, records pass as they are.

    Args:
        transformation: The product's function, or None for an identity.
        fanout: Most records one input record may become.
    """
    if transformation is None:
        return lambda record, _message: record
    function = transformation.function
    origin = transformation.origin
    wants_context = transformation.wants_context

    def transform(record: Any, message: Message) -> Any:
        try:
            if wants_context:
                result = function(record, source_context(message))
            else:
                result = function(record)
            return settle(result, fanout) if isinstance(result, Iterator) else result
        except (PlatformError, ContractError, MemoryError):
            raise
        except Exception as error:
            raise code_error(error, origin) from error

    return transform


def settle(result: Iterator[Any], fanout: int) -> list[Any]:
    """Run a lazy result to its end, here, where what it raises is still the transformation's."""
    records = list(islice(result, fanout + 1))
    if len(records) > fanout:
        raise ContractError(
            f"the transformation yielded more than {fanout} records for one; "
            f"expected at most `limits.fanout`",
            rule="fanout",
        )
    return records


def source_context(message: Message) -> SourceContext:
    """Read a record's origin into the value that transformations see."""
    kind, timestamp = message.timestamp()
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    return SourceContext(
        topic=topic,
        partition=partition,
        offset=offset,
        key=message.key(),
        headers=list(message.headers() or ()),
        timestamp=timestamp if kind else None,
    )


def code_error(error: Exception, origin: str) -> CodeError:
    """Name what the product's code raised and where, without its message.

    The message of somebody else's exception often quotes the value it choked on, and a reason is
    written to headers and logs, where no payload belongs.
    """
    frames = traceback.extract_tb(error.__traceback__)
    home = [frame for frame in frames if f"{Path(frame.filename).parent}".endswith(_folder(origin))]
    place = home[-1] if home else frames[-1]
    return CodeError(
        f"{type(error).__name__} raised at {Path(place.filename).name}:{place.lineno} "
        f"in {place.name}, called as {origin}",
        rule="transformation",
    )


def _folder(origin: str) -> str:
    return str(Path(origin.partition(":")[0]).parent)
