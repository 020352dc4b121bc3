"""How far event time has come."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.pipeline.watermark import Progress, Watermark
from mesh_stream.pipeline.windows import NEVER


def of(*sources: str) -> Watermark:
    return Watermark(sources, Progress())


def test_it_is_where_the_last_of_its_sources_is() -> None:
    watermark = of("a", "b")

    watermark.reached("a", 9)
    assert watermark.advance() == NEVER
    watermark.reached("b", 5)
    assert watermark.advance() == 5
    watermark.reached("b", 20)
    assert watermark.advance() == 9


def test_an_older_event_does_not_move_it_back() -> None:
    watermark = of("a")
    watermark.reached("a", 9)
    watermark.reached("a", 3)

    assert (watermark.highest, watermark.advance()) == ({"a": 9}, 9)


def test_an_idle_source_holds_nobody_back_until_it_brings_something() -> None:
    watermark = of("a", "b")
    watermark.reached("a", 9)
    watermark.fell_silent("b")
    assert watermark.advance() == 9

    watermark.reached("b", 2)
    watermark.reached("a", 12)
    assert watermark.advance() == 9
    watermark.reached("b", 11)
    assert watermark.advance() == 11


def test_where_every_source_is_idle_it_stays() -> None:
    watermark = of("a")
    watermark.reached("a", 9)
    watermark.fell_silent("a")

    assert watermark.advance() == NEVER


def test_a_source_that_is_none_any_more_counts_for_nothing() -> None:
    watermark = Watermark(["raw.a:0"], Progress({"raw.a:0": 9, "raw.gone:0": 1}))

    assert watermark.advance() == 9


def test_a_partition_that_a_topic_has_got_is_waited_for_once_it_has_brought_something() -> None:
    watermark = of("raw.a:0", "raw.a:1")
    watermark.reached("raw.a:0", 20)
    watermark.reached("raw.a:1", 20)
    watermark.reached("raw.a:2", 9)
    assert watermark.advance() == 9

    again = Watermark(["raw.a:0", "raw.a:1"], watermark.progress())
    again.reached("raw.a:0", 30)
    again.reached("raw.a:1", 30)
    assert again.advance() == 9
    again.reached("raw.a:2", 25)
    assert again.advance() == 25


STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(-50, 50)), max_size=30)


@given(steps=STEPS, cut=st.integers(0, 30))
def test_it_never_goes_back_and_goes_on_from_where_it_was_kept(
    steps: list[tuple[str, int | None]], cut: int
) -> None:
    watermark = of(*"abc")
    values = []
    for number, (source, at) in enumerate(steps):
        if number == cut:
            kept = msgspec.msgpack.encode(watermark.progress())
            watermark = Watermark("abc", msgspec.msgpack.decode(kept, type=Progress))
        if at is None:
            watermark.fell_silent(source)
        else:
            watermark.reached(source, at)
        values.append(watermark.advance())

    assert values == sorted(values)
    brought = {source: at for source, at in sorted(steps, key=str) if at is not None}
    assert watermark.highest.keys() == brought.keys()


def test_what_is_restored_is_apart_from_what_was_kept() -> None:
    watermark = of("a")
    watermark.reached("a", 1)
    kept = watermark.progress()
    watermark.reached("a", 2)
    watermark.fell_silent("a")
    watermark.restore(kept)
    watermark.reached("a", 3)

    assert kept == Progress({"a": 1})
    assert watermark.progress() == Progress({"a": 3})
