from __future__ import annotations

from pathlib import Path

import pytest

from mesh_stream.errors import DeclarationError, Fault
from mesh_stream.product.declaration import ProductDocument
from mesh_stream.product.validation import Faults, did_you_mean, one_of, salvaged
from mesh_stream.product.yaml_source import parse_yaml
from tests.product.seed import DECLARATION, declaration

PATH = Path("data_product.yaml")


def fault(line: int) -> Fault:
    return Fault(PATH, line, "", "a", "b")


def fail(line: int) -> None:
    raise DeclarationError([fault(line)])


def test_one_fault_does_not_hide_the_next() -> None:
    faults = Faults()

    assert faults.attempt(lambda: fail(2)) is None
    assert faults.attempt(lambda: 7) == 7
    faults.attempt(lambda: fail(1))

    with pytest.raises(DeclarationError) as caught:
        faults.raise_any()
    assert caught.value.faults == (fault(1), fault(2))


def test_no_fault_raises_nothing() -> None:
    Faults().raise_any()


def test_a_close_word_is_suggested_and_a_far_one_is_not() -> None:
    assert did_you_mean("verison", ["version", "status"]) == "did you mean version?"
    assert did_you_mean("xyz", ["version", "status"]) == ""


def test_a_closed_set_is_written_out() -> None:
    assert one_of(["a", "b"]) == "one of a, b"


def salvage(text: str) -> tuple[ProductDocument | None, int, set[tuple[str | int, ...]]]:
    reading = salvaged(parse_yaml(PATH, text), ProductDocument)
    return reading.model, len(reading.faults), set(reading.broken)


def test_a_sound_document_is_salvaged_whole() -> None:
    model, faults, broken = salvage(DECLARATION)

    assert model is not None
    assert (faults, broken) == (0, set())


def test_an_unknown_key_costs_nothing_else() -> None:
    model, faults, broken = salvage(declaration(more="foo: 1\noutput: {key: order_id, bar: 1}"))

    assert model is not None
    assert model.data_product.output.key == "order_id"
    assert (faults, broken) == (2, set())


def test_a_faulty_section_is_left_out_and_the_others_stay() -> None:
    model, faults, broken = salvage(declaration(more="output: {partitions: x}\nversion: 2.0.0"))

    assert model is not None
    assert model.data_product.version == "2.0.0"
    assert model.data_product.output.partitions is None
    assert (faults, broken) == (1, {("data_product", "output")})


def test_a_faulty_obligatory_section_gets_a_stand_in() -> None:
    model, faults, broken = salvage(DECLARATION.replace("99.9%", "x").replace("owner", "ownr"))

    assert model is not None
    assert (faults, broken) == (3, {("data_product", "sla"), ("data_product", "owner")})


def test_what_is_found_about_a_stand_in_is_known_as_such() -> None:
    document = parse_yaml(PATH, declaration(more="inputs: [{topic: a, x: 1, format: 3}]"))
    reading = salvaged(document, ProductDocument)

    assert reading.concerns(document.fault(("data_product", "inputs", 0, "topic"), "a", "b"))
    assert reading.concerns(document.fault(("data_product", "inputs"), "a", "b"))
    assert not reading.concerns(document.fault(("data_product", "name"), "a", "b"))


@pytest.mark.parametrize("text", ["[]", "data_product: 3", "x: 1"])
def test_too_little_is_no_document(text: str) -> None:
    model, faults, _ = salvage(text)

    assert model is None
    assert faults > 0
