"""What is noted beside committed offsets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.pipeline.notes import commits_of_note, source_note, source_of_note, states_note
from mesh_stream.pipeline.windows import NEVER


@pytest.mark.parametrize("highest", [NEVER, -1, 0, 1_600_000_000_000])
def test_the_note_of_a_source_is_read_as_it_was_written(highest: int) -> None:
    assert source_of_note(source_note("tZ4e_-Q", highest)) == ("tZ4e_-Q", highest)


@pytest.mark.parametrize("note", ["", "7", "by hand", "id ", "id 1 2", "id 1.5"])
def test_what_somebody_else_noted_is_no_note_of_a_source(note: str) -> None:
    assert source_of_note(note) is None


def test_the_note_of_states_is_read_as_it_was_written() -> None:
    assert commits_of_note(states_note(7)) == 7


@given(st.text())
def test_whatever_stands_there_is_a_number_of_commits_or_none(note: str) -> None:
    assert commits_of_note(note) >= 0
    source_of_note(note)
