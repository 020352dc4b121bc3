"""The states that were used lately, in memory: two generations, the older is dropped whole.

That bounds how many there are without noting, for every look-up, when it was. As long as all of
them have room there is one generation, and nothing is moved or dropped.
"""

from __future__ import annotations

from itertools import islice


class Cache:
    """At most `limit` entries by their keys, and what came since room was made for them.

    Args:
        limit: Most entries when room has just been made.

    Attributes:
        young: The newest of them. Whoever is fast holds it, until room is made.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._half = max(1, limit // 2)
        self.young: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}

    def make_room(self) -> None:
        """Forget the older ones where there are too many; `young` is another afterwards."""
        if len(self.young) < self._half:
            return
        if self._old:
            self._old, self.young = self.young, {}
        elif len(self.young) > self._limit:
            # All of them had room until now: those that came last are kept.
            newer = islice(self.young.items(), len(self.young) - self._half, None)
            self._old, self.young = dict(newer), {}

    def find(self, key: bytes) -> bytes | None:
        """The entry under a key, or None where it is not here."""
        found = self.young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.young[key] = found
        return found

    def lacks(self, keys: set[bytes]) -> set[bytes]:
        """Those of the keys whose entries are not here."""
        return keys.difference(self.young).difference(self._old)

    def forget(self, key: bytes) -> None:
        """Have no entry under a key."""
        self.young.pop(key, None)
        self._old.pop(key, None)
