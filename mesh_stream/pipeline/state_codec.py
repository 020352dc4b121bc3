"""States as objects and as the bytes that they are kept as."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from mesh_stream.errors import CodeError


class Written(msgspec.Struct, frozen=True, gc=False):
    """An entry as it is kept; made for every event, so of the cheapest type there is.

    Attributes:
        encoded: Its bytes.
        entry: What they say.
    """

    encoded: bytes
    entry: Any


class Codec:
    """States as objects and as bytes.

    Args:
        entry_type: What the entries hold.
        origin: The fold, for messages.
        mutable: Whether such an object can be changed in place.
    """

    def __init__(self, entry_type: Any, *, origin: str, mutable: bool) -> None:
        self.encode = msgspec.msgpack.Encoder().encode
        self.decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(entry_type).decode
        self.mutable = mutable
        self._origin = origin

    def written(self, entry: Any) -> Written:
        """An entry as bytes that are known to be readable.

        Raises:
            CodeError: They are not: a state holds what its type does not say.
        """
        try:
            encoded = self.encode(entry)
            read = self.decode(encoded)
        except MemoryError:
            raise
        except Exception as error:
            raise self.misfit(error) from error
        return Written(encoded, read)

    def misfit(self, error: Exception) -> CodeError:
        """What is said of a state that could not be written and read again."""
        return CodeError(
            f"{self._origin} made a state that does not fit its own type: it could not be "
            f"written and read again ({type(error).__name__})",
            rule="state",
        )
