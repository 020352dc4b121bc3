"""The cache of states: bounded, and what is used often stays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.pipeline.state_cache import Cache


def use(cache: Cache, number: int) -> bool:
    """Look an entry up as a fold does, and change it; returns whether it was there."""
    key = b"%d" % number
    found = cache.find(key)
    cache.young[key] = key
    cache.make_room()
    return found is not None


def held(cache: Cache, numbers: range) -> set[int]:
    """Which of them are here."""
    missing = cache.lacks({b"%d" % number for number in numbers})
    return {number for number in numbers if b"%d" % number not in missing}


def test_what_has_room_stays_however_often_all_of_it_is_used() -> None:
    cache = Cache(100)
    for number in range(100):
        use(cache, number)

    assert all(use(cache, number) for _ in range(5) for number in range(100))


def test_what_came_last_stays_when_there_is_no_room_any_more() -> None:
    cache = Cache(100)
    for number in range(101):
        use(cache, number)

    assert held(cache, range(101)) == set(range(51, 101))


def test_what_is_used_often_stays_whatever_passes_by() -> None:
    cache = Cache(100)
    for number in range(1_000):
        use(cache, -number % 5)
        use(cache, 10 + number)

    assert held(cache, range(5)) == set(range(5))


@given(st.integers(2, 20), st.lists(st.integers(0, 40)))
def test_there_are_never_more_than_its_limit(limit: int, used: list[int]) -> None:
    cache = Cache(limit)
    for number in used:
        use(cache, number)
        assert number in held(cache, range(41))
        assert len(held(cache, range(41))) <= limit


def test_what_is_forgotten_is_in_no_generation() -> None:
    cache = Cache(4)
    for number in range(6):
        use(cache, number)

    for number in range(6):
        cache.forget(b"%d" % number)

    assert held(cache, range(6)) == set()
