from __future__ import annotations

import pytest

from mesh_stream.console import extra
from mesh_stream.errors import MeshError


def test_a_missing_extra_is_named_with_the_way_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extra, "LIBRARY", "no_such_library")
    with pytest.raises(MeshError, match=r"pip install 'mesh-stream\[console\]'"):
        extra.require()


def test_an_extra_that_is_there_is_no_word_worth() -> None:
    extra.require()
