"""Which ports the stack listens on: the usual ones, or free ones where those are taken.

All on 127.0.0.1: the embedded stack has no authentication, so nothing beyond this machine may see
it.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable

HOST = "127.0.0.1"
BROKER = 9092
REGISTRY = 8081
# Below the systems' ephemeral ranges (Linux from 32768, others from 49152): a client that keeps
# calling a stopped broker on an ephemeral port can be given that very port as its own end, connect
# to itself, and keep the broker from coming back.
FREE = range(20_000, 32_000)


def choose(wanted: Iterable[int | None]) -> list[int]:
    """A different port for each wanted one: itself where it is free, else any that is.

    Nothing is reserved: between here and the part's own bind another process may take the port,
    and then the part fails to start and is started again elsewhere.
    """
    chosen: list[int] = []
    for port in wanted:
        if port is not None and port not in chosen and is_free(port):
            chosen.append(port)
            continue
        chosen.append(
            next(
                port
                for port in random.sample(FREE, len(FREE))
                if port not in chosen and is_free(port)
            )
        )
    return chosen


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        # As servers do: a connection that lingers after its server's end is no reason to move.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return False
        return True
