"""A record's headers, where they can be read.

Kafka's protocol has header names in UTF-8, but no broker looks, and a client in C or Go may send
any bytes. confluent-kafka 2.16 then raises once, and from the second call on returns a list that
ends the process (SIGSEGV) when it is looked into. So nobody asks a record for its headers but here.
"""

from __future__ import annotations

from typing import Final

from mesh_stream.errors import PayloadError
from mesh_stream.pipeline.record import Headers, Message

_UNREADABLE: Final[Headers] = [("unreadable", None)]
"""This very list stands in a record in the place of those that cannot be read."""


def headers_of(message: Message) -> Headers:
    """The headers in order, duplicates kept.

    Raises:
        PayloadError: One of them has a name that is not UTF-8.
    """
    try:
        headers: Headers = message.headers() or []
    except SystemError:
        # A call into C that "returned a result with an exception set".
        headers = _UNREADABLE
        message.set_headers(headers)  # type: ignore[attr-defined]  # only the library's own raises it
    if headers is _UNREADABLE:
        raise PayloadError(
            "found a header whose name is not UTF-8; expected UTF-8, as Kafka's protocol has it",
            rule="malformed",
        )
    return headers
