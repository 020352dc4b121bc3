"""The benchmark compares like with like: all contenders make the same facts of the same orders."""

from __future__ import annotations

import pytest

from mesh_stream.local.stack import Stack
from tests.bench.arena import fill, provision
from tests.bench.observed import Scrapes, round_of_two
from tests.bench.orders import Orders
from tests.bench.throughput import CONTENDERS, rounds

pytestmark = pytest.mark.kafka


def test_worker_and_hand_written_loop_write_the_same_facts_and_balance_their_books(
    stack: Stack,
) -> None:
    arena = provision(stack)
    books = fill(arena, Orders(seed=3), 2_000)

    # Every run is read back: counts, dead letters, and a checksum over keys and values.
    (done,) = rounds(arena, books, 1)

    assert set(done) == set(CONTENDERS)
    assert books.facts > books.filtered > books.rejected > 0

    # And the same facts again, while its metrics are asked for.
    scrapes = Scrapes()
    alone, seen = round_of_two(arena, books, 0, scrapes)
    assert min(alone.rate, seen.rate) > 0
    assert len(scrapes.millis) == len(scrapes.page_bytes) > 0
