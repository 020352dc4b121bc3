"""The second stage: the product's own function, held so that its failures are a record's failures.

Invariant: what leaves this stage is None, a `Filtered`, one record, or a list of records. Nothing
the function raises passes as it is, except a platform fault, which is not the record's.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from mesh_stream.errors import CodeError, ContractError, PlatformError
from mesh_stream.pipeline.headers import headers_of
from mesh_stream.pipeline.record import Filtered, Message, SourceContext
from mesh_stream.pipeline.shape import is_record
from mesh_stream.product.product import Transformation

Transform = Callable[[Any, Message], Any]


def compile_transform(transformation: Transformation, *, fanout: int) -> Transform:
    """Make the stage from the declared function.

    Args:
        transformation: The product's function.
        fanout: Most records one input record may become.
    """
    function = transformation.function
    origin = transformation.origin
    wants_context = transformation.wants_context
    # One look-up by class is all that the common result pays for what others may be.
    single: set[type] = {type(None), Filtered}

    def transform(record: Any, message: Message) -> Any:
        # Not in the `try`: headers that cannot be read are no fault of the transformation.
        context = source_context(message) if wants_context else None
        try:
            result = function(record, context) if wants_context else function(record)
            if result.__class__ in single:
                return result
            if not _is_several(result):
                single.add(result.__class__)
                return result
            records = list(islice(result, fanout + 1))
        except (PlatformError, MemoryError):
            raise
        except Exception as error:
            raise code_error(error, origin) from error
        if len(records) > fanout:
            raise ContractError(
                f"the transformation made more than {fanout} records of one; "
                f"expected at most `limits.fanout`",
                rule="fanout",
            )
        return records

    return transform


def _is_several(result: Any) -> bool:
    """Whether a result is an iterable of records rather than one; iterated to its end here.

    Here, because what a lazy one raises is still the transformation's.
    """
    kind = result.__class__
    # A named tuple is meant as one thing; that it is no record is said of it, not of its parts.
    return (
        isinstance(result, Iterable)
        and not isinstance(result, str | bytes | bytearray | Mapping)
        and not is_record(kind)
        and not hasattr(kind, "_fields")
    )


def source_context(message: Message) -> SourceContext:
    """Read a record's origin into the value that transformations see.

    Raises:
        PayloadError: Its headers cannot be read.
    """
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
        headers=list(headers_of(message)),
        timestamp=timestamp if kind else None,
    )


def code_error(error: Exception, origin: str, how: str = "called as") -> CodeError:
    """Name what the product's code raised and where, without its message.

    The message of somebody else's exception often quotes the value it choked on, and a reason is
    written to headers and logs, where no payload belongs.

    Args:
        error: What was raised.
        origin: The product's function, such as `src/transformations/completed.py:complete`.
        how: What the raising code has to do with it.
    """
    folder = str(Path(origin.partition(":")[0]).parent)
    places = [
        (Path(frame.f_code.co_filename), line, frame.f_code.co_name)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    home = [place for place in places if str(place[0].parent).endswith(folder)]
    file, line, name = (home or places)[-1]
    return CodeError(
        f"{type(error).__name__} raised at {file.name}:{line} in {name}, {how} {origin}",
        rule="transformation",
    )
