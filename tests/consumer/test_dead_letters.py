from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.consumer.dead_letters import DeadLetter, read_dead_letter
from mesh_stream.pipeline.deadletter import MAX_REASON_BYTES, Provenance, dead_letter_headers
from mesh_stream.pipeline.record import Headers, Rejected
from mesh_stream.testing import MemoryMessage

OWN: Headers = [("trace", b"1"), ("trace", b"2"), ("odd", b"\xff"), ("none", None)]
REJECTED = Rejected(
    MemoryMessage("raw.orders", b"{", b"\xff\xfe", list(OWN), (1, 5), 991, 3),
    "payload",
    "malformed",
    "found no JSON: the input was truncated",
)
PROVENANCE = Provenance(
    group="mesh.orders-completed",
    product="orders-completed",
    product_version="1.2.0",
    contract_version=7,
    schema_id=42,
)


def on_the_topic(headers: Headers | None) -> MemoryMessage:
    return MemoryMessage("dlq.orders.orders-completed", b"{", b"\xff\xfe", headers, (1, 9), 4, 1)


def test_what_a_worker_wrote_is_read_back_whole() -> None:
    headers = dead_letter_headers(REJECTED, provenance=PROVENANCE, now=1_800_000_000_000)
    letter = read_dead_letter(on_the_topic(headers))
    assert letter == DeadLetter(
        place="dlq.orders.orders-completed[1]@4",
        id="raw.orders-3-991",
        fault_class="payload",
        rule="malformed",
        reason="found no JSON: the input was truncated",
        topic="raw.orders",
        partition=3,
        offset=991,
        product="orders-completed",
        product_version="1.2.0",
        contract_version="7",
        first_seen=1_800_000_000_000,
        attempts=1,
        key=b"\xff\xfe",
        value=b"{",
        headers=tuple(OWN),
    )
    assert letter.origin == "raw.orders[3]@991"


def test_headers_that_nobody_wrote_are_empty_and_not_made_up() -> None:
    letter = read_dead_letter(on_the_topic(None))
    assert (letter.id, letter.fault_class, letter.rule, letter.reason) == ("", "", "", "")
    assert (letter.partition, letter.offset, letter.first_seen, letter.attempts) == (None,) * 4
    assert letter.headers == ()


def test_what_was_appended_last_counts() -> None:
    headers: Headers = [("mesh.dlq.rule", b"first"), ("mesh.dlq.rule", b"last")]
    assert read_dead_letter(on_the_topic(headers)).rule == "last"


_NAMES = st.sampled_from(
    [
        "mesh.dlq.attempts", "mesh.dlq.first.seen", "mesh.dlq.class", "mesh.dlq.id",
        "__dlq.errors.partition", "__dlq.errors.offset", "__dlq.errors.message", "mesh.dlq.x", "y",
    ]
)  # fmt: skip


@given(headers=st.lists(st.tuples(_NAMES, st.none() | st.binary(max_size=40))))
def test_any_header_is_read_as_bounded_numbers_and_text(headers: Headers) -> None:
    letter = read_dead_letter(on_the_topic(headers))
    for number in (letter.partition, letter.offset, letter.first_seen, letter.attempts):
        assert number is None or 0 <= number < 10**16
    assert {name for name, _ in letter.headers} <= {"y"}


def test_a_reason_of_any_length_is_cut() -> None:
    headers: Headers = [("__dlq.errors.message", b"x" * 100_000)]
    assert len(read_dead_letter(on_the_topic(headers)).reason) == MAX_REASON_BYTES


def test_digits_of_other_scripts_are_no_number() -> None:
    headers: Headers = [("mesh.dlq.attempts", "٣".encode()), ("__dlq.errors.offset", b"-1")]
    letter = read_dead_letter(on_the_topic(headers))
    assert (letter.attempts, letter.offset) == (None, None)
