"""A run of records down the path, by the quick way and by the ordinary one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from mesh_stream.pipeline.pipeline import Pipeline
from mesh_stream.pipeline.record import Outcome
from mesh_stream.testing import MemoryMessage


def told(outcome: Outcome) -> dict[str, Any]:
    """What became of records. When they came is told of a run by its last one only: left out."""
    found = {field.name: getattr(outcome, field.name) for field in dataclasses.fields(outcome)}
    del found["arrived"]
    return found | {"rejected": [(one[0].offset(), *one[1:]) for one in outcome.rejected]}


def together(pipeline: Pipeline, run: Sequence[MemoryMessage]) -> dict[str, Any]:
    """A run at once: the quick way as far as it goes."""
    outcome = Outcome()
    if run:
        pipeline.process(run, outcome)
    return told(outcome)


def one_by_one(pipeline: Pipeline, run: Sequence[MemoryMessage]) -> dict[str, Any]:
    """The same by the ordinary way."""
    outcome = Outcome()
    for record in run:
        pipeline.process([record], outcome)
    return told(outcome)


def without_the_ordinary(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A pipeline in which the quick way has to do."""

    def refuse(message: MemoryMessage, _outcome: Outcome) -> None:
        raise AssertionError(f"went the ordinary way: {message.value()!r}")

    monkeypatch.setattr(pipeline, "_take", refuse)
    return pipeline
