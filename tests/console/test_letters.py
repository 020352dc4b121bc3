from __future__ import annotations

from mesh_stream.console.letters import field_names, redacted
from mesh_stream.consumer.dead_letters import DeadLetter


def letter(key: bytes | None, value: bytes | None) -> DeadLetter:
    return DeadLetter(
        place="dlq.a.b[0]@1", id="1", fault_class="payload", rule="type", reason="why",
        topic="raw.b", partition=0, offset=1, product="b", product_version="1",
        contract_version="1", first_seen=1, attempts=1, key=key, value=value,
        headers=(("token", b"secret"),),
    )  # fmt: skip


def test_a_dead_letter_is_shown_without_what_was_in_it() -> None:
    shown = redacted(letter(b"secret", b'{"mail": "secret"}'))
    assert "secret" not in repr(shown)
    assert (shown.key_bytes, shown.value_bytes, shown.fields) == (6, 18, ("mail",))
    assert shown.letter.reason == "why"


def test_nothing_is_told_from_an_empty_value() -> None:
    assert redacted(letter(None, None)).value_bytes is None
    assert redacted(letter(b"", b"")).value_bytes == 0


def test_only_plain_names_are_names_of_fields() -> None:
    assert field_names(b'{"id": 1, "me@example.com": 2, "4711": 3, "a b": 4}') == ("id",)
    assert field_names(b'{"' + b"a" * 41 + b'": 1}') == ()


def test_what_is_no_json_object_has_no_fields() -> None:
    for value in (None, b"", b"[1]", b'{"a": ', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000):
        assert field_names(value) == ()


def test_a_few_names_are_enough() -> None:
    many = b"{" + b",".join(b'"f%d": 1' % n for n in range(40)) + b"}"
    assert len(field_names(many)) == 12
