from __future__ import annotations

from dataclasses import replace

from mesh_stream.console.history import KEPT_SECONDS, SAMPLE_SECONDS, History
from tests.console.showing import NOW, PRODUCT, reading

NAME = PRODUCT.name


def test_readings_are_kept_once_in_a_while() -> None:
    history = History([NAME])
    for second in range(int(SAMPLE_SECONDS * 2)):
        history.take({NAME: replace(reading(), at=NOW + second)})
    assert [at for at, _ in history.points(NAME, NOW)] == [NOW, NOW + SAMPLE_SECONDS]


def test_what_nobody_saw_is_a_gap_and_no_line() -> None:
    history = History([NAME])
    history.take({NAME: reading(seen=60)})
    assert history.points(NAME, NOW) == [(NOW, None)]


def test_points_older_than_an_hour_are_not_shown() -> None:
    history = History([NAME])
    history.take({NAME: reading()})
    assert history.points(NAME, NOW + KEPT_SECONDS + 1) == []


def test_what_others_remember_comes_before_and_never_pushes_out_what_was_seen() -> None:
    history = History([NAME])
    history.take({NAME: reading(age=1)})
    history.fill(NAME, [(NOW + 5, 9.0), *((NOW - 5 * n, float(n)) for n in range(1, 2_000))])
    points = history.points(NAME, NOW)
    assert points[-1] == (NOW, 1.0)
    assert points[-2] == (NOW - 5, 1.0)
    assert len(points) == KEPT_SECONDS / SAMPLE_SECONDS
    assert points == sorted(points)
