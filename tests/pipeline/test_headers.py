from __future__ import annotations

from typing import Any

import pytest

from mesh_stream.errors import PayloadError
from mesh_stream.pipeline.headers import headers_of
from tests.pipeline.making import message


class Broken:
    """A record as confluent-kafka has it whose header's name it could not decode."""

    def __init__(self) -> None:
        self.asked = 0
        self.replaced: Any = None

    def headers(self) -> Any:
        self.asked += 1
        if self.replaced is not None:
            return self.replaced
        if self.asked == 1:
            raise SystemError("returned a result with an exception set")
        raise AssertionError("this call would have ended the process")

    def set_headers(self, headers: Any) -> None:
        self.replaced = headers


def test_headers_are_a_list_in_order_with_duplicates() -> None:
    pairs = [("b", b"1"), ("a", None), ("b", b"1")]
    assert headers_of(message(headers=pairs)) == pairs


def test_no_headers_are_an_empty_list() -> None:
    assert headers_of(message(headers=None)) == []


def test_headers_that_cannot_be_read_are_told_however_often_they_are_asked_for() -> None:
    broken: Any = Broken()
    for _ in range(3):
        with pytest.raises(PayloadError, match="not UTF-8") as caught:
            headers_of(broken)
        assert caught.value.rule == "malformed"


def test_headers_that_look_like_unreadable_ones_are_read() -> None:
    pairs = [("unreadable", None)]
    assert headers_of(message(headers=pairs)) == pairs
