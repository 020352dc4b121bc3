"""How states lie in a store, and whether those that lie there can still be read.

What an entry holds depends on the product's windows; what it looked like when it was written is
kept beside it, as plain data. A product whose state type has changed reads that first: states are
never read as what they are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from mesh_stream.pipeline.entries import DUE, STATE, TYPE, Store
from mesh_stream.pipeline.state_codec import Codec
from mesh_stream.pipeline.windows import ordered
from mesh_stream.product.product import Hopping, Session, State
from mesh_stream.product.state_type import describe, fingerprint, is_immutable, misreadings


def codec_of(state: State) -> Codec:
    """How a product's entries are read and written."""
    kind: Any = state.state_type
    if isinstance(state.window, Session):
        # Start, end and state of each session, in the order of their starts.
        kind = tuple[tuple[int, int, kind], ...]
    elif state.window is None and state.ttl is not None:
        # The time of the newest event, and the state.
        kind = tuple[int, kind]
    mutable = not is_immutable(state.state_type)
    return Codec(kind, origin=state.fold.origin, mutable=mutable)


def index_of(state: State) -> Callable[[bytes, bytes | None], Iterable[bytes]] | None:
    """Make the function that finds, of an entry, when it is to be looked at.

    That is kept in the store and not in the changelog; a restored store has it from here. None
    where nothing is looked at.
    """
    decode = codec_of(state).decode
    match state.window, state.ttl:
        case None, int(ttl):

            def dues(key: bytes, value: bytes | None) -> Iterable[bytes]:
                if value is not None and key.startswith(STATE):
                    yield DUE + ordered(decode(value)[0] + ttl) + key

            return dues
        case Session(gap), _:
            patience = gap + state.grace

            def ends(key: bytes, value: bytes | None) -> Iterable[bytes]:
                if value is not None and key.startswith(STATE):
                    first = min(session[1] for session in decode(value))
                    yield DUE + ordered(first + patience) + key

            return ends
    return None


def description_of(state: State) -> Mapping[str, Any]:
    """What a product's entries look like, as plain data."""
    match state.window:
        case Hopping(size, advance):
            layout = f"windows of {size} ms, every {advance} ms"
        case Session(gap):
            layout = f"sessions with gaps of {gap} ms"
        case None:
            layout = "one state a key" + (", with its age" if state.ttl is not None else "")
    key = f"{state.key} ({state.key_type.__name__})" if state.key else "none"
    return {"layout": layout, "key": key, "state": describe(state.state_type)}


def type_entry(state: State) -> tuple[bytes, bytes]:
    """The entry that says what the others look like."""
    description = description_of(state)
    return TYPE + fingerprint(description).encode(), msgspec.json.encode(description)


def changes_that_matter(store: Store, state: State) -> list[str]:
    """Why what lies in a store cannot be read as the product's state is now; empty: it can.

    Args:
        store: A partition's entries, all of them restored.
        state: The product's state, as declared now.
    """
    written = store.scan(TYPE, bytes([TYPE[0] + 1]), 1_000)
    return misfits((description for _, description in written), state)


def misfits(written: Iterable[bytes], state: State) -> list[str]:
    """Why states written by these descriptions cannot be read as is declared now; empty: they can.

    Args:
        written: Values of the entries that describe types.
        state: The product's state, as declared now.
    """
    now = description_of(state)
    found: list[str] = []
    for encoded in written:
        then = msgspec.json.decode(encoded)
        found += [
            f"the {what} was {then[what]} and is {now[what]}"
            for what in ("key", "layout")
            if then[what] != now[what]
        ]
        found += misreadings(then["state"], now["state"])
    return list(dict.fromkeys(found))
