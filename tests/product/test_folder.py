from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from mesh_stream.errors import Fault
from mesh_stream.product.authored_code import AuthoredCode
from mesh_stream.product.folder import (
    conventional_transformation,
    misnamed,
    named_file,
    quality_files,
    recorded_rules,
)
from mesh_stream.product.validation import Faults
from tests.product.seed import CHECK, faults_of, the_fault_of, write

PRODUCT = "orders/orders-completed"
F = "def f(order): ...\n"


def at(found: str, expected: str, remedy: str = "") -> Fault:
    return Fault(Path("data_product.yaml"), 3, "here", found, expected, remedy)


def test_the_only_file_is_the_transformation(tmp_path: Path) -> None:
    folder = write(tmp_path, PRODUCT, {"src/transformations/t.py": F})

    made = conventional_transformation(AuthoredCode(folder))

    assert made is not None
    assert made.origin == "src/transformations/t.py:f"


def test_no_file_is_no_transformation(tmp_path: Path) -> None:
    folder = write(tmp_path, PRODUCT, {"src/transformations/README.md": ""})

    assert conventional_transformation(AuthoredCode(folder)) is None


def test_files_with_an_underscore_are_for_their_siblings(tmp_path: Path) -> None:
    files = {
        "src/transformations/t.py": "from ._h import X\n" + F,
        "src/transformations/_h.py": "X = 1",
        "src/transformations/__init__.py": "",
        "src/quality/_shared.py": "",
    }
    folder = write(tmp_path, PRODUCT, files)

    assert conventional_transformation(AuthoredCode(folder)) is not None
    assert quality_files(folder) == []


def test_several_files_ask_which(tmp_path: Path) -> None:
    files = {"src/transformations/a.py": F, "src/transformations/b.sql": "SELECT 1"}
    folder = write(tmp_path, PRODUCT, files)

    found = the_fault_of(lambda: conventional_transformation(AuthoredCode(folder)))

    assert found.found == "several files (a.py, b.sql)"
    assert found.remedy == "say which: transformation: src/transformations/a.py"


def test_checks_are_read_from_every_file_and_subfolder_in_order(tmp_path: Path) -> None:
    files = {
        "src/quality/b.py": CHECK,
        "src/quality/a/deep.py": CHECK,
        "src/quality/notes.md": "no check",
    }
    folder = write(tmp_path, PRODUCT, files)
    faults = Faults()

    rules = recorded_rules(AuthoredCode(folder), faults)

    assert faults.found == []
    assert [rule.path.name for rule in rules] == ["deep.py"] * 4 + ["b.py"] * 4


def test_a_check_imported_from_a_sibling_is_the_siblings(tmp_path: Path) -> None:
    files = {
        "src/quality/a.py": CHECK,
        "src/quality/b.py": "from .a import validate_orders_completed\n"
        + CHECK.replace("def validate_orders_completed", "def another"),
    }
    folder = write(tmp_path, PRODUCT, files)

    assert len(recorded_rules(AuthoredCode(folder), Faults())) == 8


def test_a_check_with_two_names_is_called_once(tmp_path: Path) -> None:
    files = {"src/quality/a.py": CHECK + "\nagain = validate_orders_completed\n"}
    folder = write(tmp_path, PRODUCT, files)

    assert len(recorded_rules(AuthoredCode(folder), Faults())) == 4


def test_a_faulty_file_of_checks_does_not_hide_the_others(tmp_path: Path) -> None:
    files = {"src/quality/a.py": "def", "src/quality/b.py": CHECK, "src/quality/c.py": "x = 1"}
    folder = write(tmp_path, PRODUCT, files)
    faults = Faults()

    rules = recorded_rules(AuthoredCode(folder), faults)

    assert len(rules) == 4
    assert [fault.path.name for fault in faults.found] == ["a.py", "c.py"]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("src/transformation/t.py", "transformations/"),
        ("src/transforms/t.py", "transformations/"),
        ("src/Quality/t.py", "quality/"),
        ("src/quality.py", "quality/"),
        ("schemas/a.avsc", "schema/"),
        ("sources/src/x", None),
        ("test/x", "tests/"),
        ("doc/x", "docs/"),
        ("src/money.py", None),
        ("assets/x", None),
    ],
)
def test_what_is_almost_called_as_a_convention_asks(
    tmp_path: Path, entry: str, expected: str | None
) -> None:
    folder = write(tmp_path, PRODUCT, {entry: ""})

    assert [fault.expected for fault in misnamed(folder)] == ([expected] if expected else [])


def test_the_conventions_own_names_are_fine(tmp_path: Path) -> None:
    files = dict.fromkeys(
        ("src/transformations/t.py", "src/quality/q.py", "schema/a", "tests/t.py", "docs/README.md",
         "data_product.yaml"), ""
    )  # fmt: skip

    assert list(misnamed(write(tmp_path, PRODUCT, files))) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("../../secret.py", "a path inside the product's folder, relative to it"),
        ("/etc/passwd.py", "a path inside the product's folder, relative to it"),
        ("src/\0.py", "a path inside the product's folder, relative to it"),
        ("src/t.txt", "a .py file"),
        ("src/gone.py", "a file that exists"),
        ("src", "a .py file"),
    ],
)
def test_a_named_file_is_inside_the_folder_and_exists(
    tmp_path: Path, text: str, expected: str
) -> None:
    folder = write(tmp_path, PRODUCT, {"src/gon.py": ""})

    found = the_fault_of(lambda: named_file(folder, text, (".py",), at))

    assert (found.line, found.expected) == (3, expected)


def test_a_misspelt_file_suggests_the_right_one(tmp_path: Path) -> None:
    folder = write(tmp_path, PRODUCT, {"src/transformations/completed.py": ""})
    step = partial(named_file, folder, "src/transformations/complete.py", (".py",), at)

    assert the_fault_of(step).remedy == "did you mean src/transformations/completed.py?"


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside.py"
    outside.write_text("raise SystemExit('executed')\n" + F + CHECK)
    folder = write(tmp_path, PRODUCT, {"src/transformations/x": "", "src/quality/x": ""})
    (folder / "src/transformations/t.py").symlink_to(outside)
    (folder / "src/quality/q.py").symlink_to(outside)
    faults = Faults()

    recorded_rules(AuthoredCode(folder), faults)
    found = faults_of(lambda: conventional_transformation(AuthoredCode(folder)))

    assert [fault.found for fault in faults.found + found] == [
        "a link out of the product's folder"
    ] * 2


def test_a_link_inside_the_folder_is_fine(tmp_path: Path) -> None:
    # As Kubernetes mounts the files of a config map.
    folder = write(tmp_path, PRODUCT, {"..data/t.py": F, "src/transformations/x": ""})
    (folder / "src/transformations/t.py").symlink_to(folder / "..data/t.py")

    assert conventional_transformation(AuthoredCode(folder)) is not None
