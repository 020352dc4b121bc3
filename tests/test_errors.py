"""The tree of failures: drawn, complete, each with its exit code."""

from __future__ import annotations

import inspect
from pathlib import Path

from mesh_stream import errors
from mesh_stream.errors import DeclarationError, Fault, MeshError, NotProvisionedError


def families() -> list[type[MeshError]]:
    return [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, MeshError) and value is not MeshError
    ]


def test_every_error_is_drawn_in_the_tree() -> None:
    assert errors.__doc__ is not None
    for error in families():
        assert error.__name__ in errors.__doc__


def test_exit_codes_are_the_documented_ones() -> None:
    assert {error.exit_code for error in families()} == {1, 2, 3, 4, 5}


def test_a_fault_says_where_what_was_found_what_was_expected_and_what_to_do() -> None:
    fault = Fault(Path("p.yaml"), 7, "sla.freshness", "'soon'", "a duration", "write 15_minutes")

    assert str(fault) == (
        "p.yaml:7: sla.freshness: found 'soon'; expected a duration; write 15_minutes"
    )


def test_a_fault_of_a_whole_file_has_no_line() -> None:
    assert str(Fault(Path("p.yaml"), 0, "", "nothing", "a document")) == (
        "p.yaml: found nothing; expected a document"
    )


def test_faults_come_sorted_by_place_and_once() -> None:
    first = Fault(Path("a.yaml"), 2, "x", "1", "2")
    second = Fault(Path("a.yaml"), 10, "x", "1", "2")

    assert DeclarationError([second, first, second]).faults == (first, second)


def test_what_is_not_provisioned_names_the_command_that_mends_it() -> None:
    error = NotProvisionedError("orders-completed", ["topic x is missing", "topic y is missing"])

    assert "topic x is missing" in str(error)
    assert "topic y is missing" in str(error)
    assert "mesh-stream apply" in str(error)
