from __future__ import annotations

import json
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.kafka.references import MAX_DEPTH, MAX_REFERENCES, MAX_SCHEMA_BYTES, inline


def record(name: str, fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    listed = [{"name": field, "type": kind} for field, kind in fields.items()]
    return {"type": "record", "name": name, "fields": listed, **more}


def reference(name: str, subject: str = "", version: int = 1) -> dict[str, Any]:
    return {"name": name, "subject": subject or name, "version": version}


def answer(schema: Any, *references: dict[str, Any]) -> dict[str, Any]:
    return {"schema": json.dumps(schema), "references": list(references)}


def resolve(main: dict[str, Any], subjects: dict[str, Any]) -> Any:
    return inline(main, lambda subject, _version: subjects.get(subject))


MONEY = record("Money", {"cents": "long"}, namespace="shared")


def test_a_schema_without_references_is_as_it_is() -> None:
    for schema in (MONEY, "string", ["null", "int"], {"type": "array", "items": "int"}):
        assert resolve({"schema": json.dumps(schema)}, {}) == schema


def test_a_bare_primitive_is_a_schema() -> None:
    assert resolve({"schema": "string"}, {}) == "string"


def test_a_referred_type_is_defined_where_it_is_first_used_and_named_afterwards() -> None:
    bill = record("Bill", {"net": "shared.Money", "gross": ["null", "shared.Money"]})

    whole = resolve(answer(bill, reference("shared.Money")), {"shared.Money": answer(MONEY)})

    assert [field["type"] for field in whole["fields"]] == [MONEY, ["null", "shared.Money"]]


def test_references_of_references_are_followed() -> None:
    price = record("Price", {"money": "shared.Money"}, namespace="shop")
    bill = record("Bill", {"price": "shop.Price"}, namespace="orders")
    subjects = {
        "price": answer(price, reference("shared.Money", "money")),
        "money": answer(MONEY),
    }

    whole = resolve(answer(bill, reference("shop.Price", "price")), subjects)

    assert json.dumps(whole).count('"cents"') == 1
    fastavro.parse_schema(whole)


@pytest.mark.parametrize(
    ("namespace", "referred", "name"),
    [
        (None, None, "Money"),
        ("", None, "Money"),
        (None, "", "Money"),
        (None, "shared", "shared.Money"),
        ("orders", "shared", "shared.Money"),
        ("shared", "shared", "shared.Money"),
        ("shared", "shared", "Money"),
    ],
)
def test_names_keep_the_meaning_that_they_have_in_their_own_schema(
    namespace: str | None, referred: str | None, name: str
) -> None:
    money = record("Money", {"cents": "long"})
    bill = record("Bill", {"a": name, "b": {"type": "array", "items": name}})
    if referred is not None:
        money["namespace"] = referred
    if namespace is not None:
        bill["namespace"] = namespace
    full = f"{referred}.Money" if referred else "Money"

    whole = resolve(answer(bill, reference(full, "money")), {"money": answer(money)})

    parsed: Any = fastavro.parse_schema(whole)
    assert parsed["fields"][0]["type"]["name"] == full
    assert parsed["fields"][1]["type"]["items"] == full


def test_a_type_without_namespace_gets_none_from_where_it_is_defined() -> None:
    money = record("Money", {"cents": "long"})
    bill = record("Bill", {"sum": "Money"}, namespace="orders")

    whole = resolve(answer(bill, reference("Money")), {"Money": answer(money)})

    parsed: Any = fastavro.parse_schema(whole)
    assert parsed["fields"][0]["type"]["name"] == "Money"


def test_a_name_of_the_same_namespace_is_found_by_its_short_form() -> None:
    bill = record("Bill", {"sum": "Money"}, namespace="shared")

    whole = resolve(answer(bill, reference("shared.Money", "money")), {"money": answer(MONEY)})

    assert whole["fields"][0]["type"] == MONEY


def test_a_circle_of_references_ends() -> None:
    subjects = {
        "a": answer(record("A", {"b": "B"}), reference("B", "b")),
        "b": answer(record("B", {"a": ["null", "A"]}), reference("A", "a")),
    }

    whole = resolve(subjects["a"], subjects)

    assert json.dumps(whole).count('"name": "B"') == 1


def test_references_are_bounded_in_number_depth_and_size() -> None:
    wide = [reference(f"T{number}", "money") for number in range(MAX_REFERENCES + 1)]
    with pytest.raises(ValueError, match=f"more than {MAX_REFERENCES} schemas"):
        resolve(answer(MONEY, *wide), {"money": answer(MONEY)})

    deep = {
        f"s{level}": answer(
            record(f"R{level}", {"x": f"R{level + 1}"}), reference(f"R{level + 1}", f"s{level + 1}")
        )
        for level in range(MAX_DEPTH + 2)
    }
    with pytest.raises(ValueError, match=f"more than {MAX_DEPTH} deep"):
        resolve(deep["s0"], deep)

    with pytest.raises(ValueError, match="larger than"):
        resolve(answer(MONEY, reference("T", "large")), {"large": answer("x" * MAX_SCHEMA_BYTES)})


def test_deep_nesting_is_refused_not_followed() -> None:
    schema: Any = "shared.Money"
    for _ in range(100):
        schema = {"type": "array", "items": schema}

    with pytest.raises(ValueError, match="nested deeper"):
        resolve(answer(schema, reference("shared.Money", "money")), {"money": answer(MONEY)})


@pytest.mark.parametrize(
    "broken",
    [
        {"name": "T", "subject": "t"},
        {"name": "T", "version": 1},
        {"subject": "t", "version": 1},
        {"name": "T", "subject": "t", "version": True},
        {"name": "T", "subject": "t", "version": "1"},
        "T",
    ],
)
def test_a_broken_reference_is_refused(broken: Any) -> None:
    with pytest.raises(ValueError, match="a reference of it"):
        resolve(answer(MONEY, broken), {"t": answer(MONEY)})


def test_a_reference_to_nothing_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="gone version 3"):
        resolve(answer(MONEY, reference("T", "gone", 3)), {})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["T", "string", "record", "array"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "name", "namespace", "items", "values", "fields", "version"])
            | st.text(max_size=2),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(main=JSON, referred=JSON, name=st.sampled_from(["T", "record", "x.T"]))
def test_whatever_a_registry_serves_gives_data_or_a_refusal(
    main: Any, referred: Any, name: str
) -> None:
    try:
        whole = resolve(answer(main, reference(name, "t")), {"t": answer(referred)})
    except ValueError:
        return
    json.dumps(whole)


@given(JSON)
def test_whatever_answers_gives_data_or_a_refusal(reply: Any) -> None:
    try:
        inline(reply, lambda _subject, _version: reply)
    except ValueError:
        return
