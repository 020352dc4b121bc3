from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mesh_stream.product.authored_code import AuthoredCode
from tests.product.seed import the_fault_of, write


@pytest.fixture(autouse=True)
def _bytecode_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in most processes, whatever this one was started with."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


def code(root: Path, files: dict[str, str]) -> AuthoredCode:
    return AuthoredCode(write(root, "orders/orders-completed", files))


def test_a_file_is_executed_once_in_a_load(tmp_path: Path) -> None:
    loaded = code(tmp_path, {"src/a.py": "import builtins\nTICKET = object()\n"})

    assert loaded.module(loaded.folder / "src/a.py") is loaded.module(loaded.folder / "src/a.py")


def test_a_file_that_fails_is_not_executed_twice(tmp_path: Path) -> None:
    log = tmp_path / "log"
    text = f"with open({str(log)!r}, 'a') as log: log.write('x')\nraise ValueError('no')\n"
    loaded = code(tmp_path, {"src/a.py": text})

    for _ in range(2):
        the_fault_of(lambda: loaded.module(loaded.folder / "src/a.py"))

    assert log.read_text() == "x"


def test_the_next_load_executes_anew(tmp_path: Path) -> None:
    first = code(tmp_path, {"src/a.py": "VALUE = 1\n"})
    assert first.module(first.folder / "src/a.py").VALUE == 1

    # Of the same length, within the same second: bytecode of the first would pass for the second's.
    second = code(tmp_path, {"src/a.py": "VALUE = 2\n"})

    assert second.module(second.folder / "src/a.py").VALUE == 2
    assert not list(tmp_path.rglob("__pycache__"))


def test_two_roots_do_not_share_modules_and_leave_the_path_alone(tmp_path: Path) -> None:
    before = list(sys.path)
    one = code(tmp_path / "one", {"src/a.py": "VALUE = 1"})
    two = code(tmp_path / "two", {"src/a.py": "VALUE = 2"})

    first = one.module(one.folder / "src/a.py")
    second = two.module(two.folder / "src/a.py")

    assert (first.VALUE, second.VALUE) == (1, 2)
    assert first.__name__ != second.__name__
    assert sys.path == before


def test_siblings_import_each_other_relatively(tmp_path: Path) -> None:
    loaded = code(
        tmp_path,
        {
            "src/transformations/a.py": "from ._money import CENT\nfrom .. import shared\n",
            "src/transformations/_money.py": "CENT = 1",
            "src/shared.py": "X = 2",
        },
    )

    module = loaded.module(loaded.folder / "src/transformations/a.py")

    assert (module.CENT, module.shared.X) == (1, 2)


def test_an_absolute_import_of_a_sibling_is_told_how_to_write_it(tmp_path: Path) -> None:
    loaded = code(tmp_path, {"src/a.py": "import money\n", "src/money.py": ""})

    fault = the_fault_of(lambda: loaded.module(loaded.folder / "src/a.py"))

    assert fault.line == 1
    assert fault.remedy == "import a file beside this one as: from . import money"


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("x = 1\ndef f(:\n", 2, "SyntaxError"),
        ("x = 1\n  y = 2\n", 2, "IndentationError"),
        ("x = 1\nimport nothing_like_this\n", 2, "ModuleNotFoundError"),
        ("x = 1\n\nraise ValueError('no')\n", 3, "ValueError: no"),
        ("import json\njson.loads('{')\n", 2, "JSONDecodeError"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit"),
        ("def f():\n    1 / 0\nf()\n", 2, "ZeroDivisionError"),
        ("x = '\0'\n", None, "SyntaxError"),
        ("x = 1\n\xff", None, None),
    ],
)
def test_code_that_does_not_load_is_a_fault_at_the_authors_line(
    tmp_path: Path, text: str, line: int | None, found: str | None
) -> None:
    loaded = code(tmp_path, {})
    path = loaded.folder / "a.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("latin-1"))

    fault = the_fault_of(lambda: loaded.module(path))

    assert fault.path == path
    if line is not None:
        assert fault.line == line
    if found is not None:
        assert found in fault.found


def test_a_fault_in_a_sibling_is_reported_in_the_sibling(tmp_path: Path) -> None:
    loaded = code(tmp_path, {"a.py": "from . import _b\n", "_b.py": "\n1 / 0\n"})

    fault = the_fault_of(lambda: loaded.module(loaded.folder / "a.py"))

    assert (fault.path, fault.line) == (loaded.folder / "_b.py", 2)


def test_a_syntax_error_in_a_sibling_is_reported_in_the_sibling(tmp_path: Path) -> None:
    loaded = code(tmp_path, {"a.py": "from . import _b\n", "_b.py": "\ndef\n"})

    fault = the_fault_of(lambda: loaded.module(loaded.folder / "a.py"))

    assert (fault.path, fault.line) == (loaded.folder / "_b.py", 2)


def test_a_file_name_with_a_dot_is_no_module(tmp_path: Path) -> None:
    loaded = code(tmp_path, {"a.b.py": ""})

    assert "no dot" in the_fault_of(lambda: loaded.module(loaded.folder / "a.b.py")).expected


def test_a_file_name_with_a_dash_is_one(tmp_path: Path) -> None:
    loaded = code(tmp_path, {"order-totals.py": "X = 1"})

    assert loaded.module(loaded.folder / "order-totals.py").X == 1


def test_dataclasses_and_annotations_resolve_in_a_loaded_module(tmp_path: Path) -> None:
    text = (
        "from __future__ import annotations\n"
        "import typing, dataclasses\n"
        "@dataclasses.dataclass\nclass A:\n    b: B | None\n"
        "class B: ...\n"
        "HINTS = typing.get_type_hints(A)\n"
    )
    loaded = code(tmp_path, {"a.py": text})

    module = loaded.module(loaded.folder / "a.py")

    assert module.HINTS["b"] == module.B | None


def test_bytecode_is_written_again_after_a_load(tmp_path: Path) -> None:
    before = sys.dont_write_bytecode
    loaded = code(tmp_path, {"a.py": "import sys\nDURING = sys.dont_write_bytecode\n"})

    assert loaded.module(loaded.folder / "a.py").DURING is True
    assert sys.dont_write_bytecode is before


def test_a_relative_folder_is_named_as_the_user_named_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "orders/orders-completed", {"a.py": "1 / 0\n"})
    monkeypatch.chdir(tmp_path)
    loaded = AuthoredCode(Path("orders/orders-completed"))

    fault = the_fault_of(lambda: loaded.module(loaded.folder / "a.py"))

    assert str(fault).startswith("orders/orders-completed/a.py:1:")
