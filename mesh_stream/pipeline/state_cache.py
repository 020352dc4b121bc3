"""The states that were used lately, in memory: two generations, the older is dropped whole.

That bounds how many there are without noting, for every look-up, when it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class Cache:
    """At most `limit` entries by their keys."""

    def __init__(self, limit: int) -> None:
        self._half = max(1, limit // 2)
        self._young: dict[bytes, Any] = {}
        self._old: dict[bytes, Any] = {}

    def get(self, key: bytes) -> Any:
        """The entry under a key, or None where it is not here."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def lacks(self, keys: set[bytes]) -> set[bytes]:
        """Those of the keys whose entries are not here."""
        return keys.difference(self._young).difference(self._old)

    def put(self, key: bytes, entry: Any) -> None:
        """Keep an entry, and forget older ones where that makes too many."""
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[key] = entry

    def update(self, entries: Mapping[bytes, Any], *, gone: Iterable[bytes]) -> None:
        """Keep entries, and forget those that are gone."""
        for key in gone:
            self._young.pop(key, None)
            self._old.pop(key, None)
        if len(self._young) + len(entries) <= self._half:
            self._young.update(entries)
        else:
            for key, entry in entries.items():
                self.put(key, entry)
