"""Numbers by look-up: the same as by computing, and in bounded memory."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.pipeline.avro_numbers import (
    HIGH_BITS,
    HIGH_BYTES,
    INTS,
    LONGS,
    decimal_bytes,
    unscaled,
    varint,
)
from tests.pipeline.hostile_avro import varint as by_hand
from tests.pipeline.making import decimal

LONG = st.integers(-(2**63), 2**63 - 1)


@given(LONG)
def test_a_number_is_zig_zag_seven_bits_a_byte(number: int) -> None:
    assert varint(number) == by_hand(number)
    assert LONGS[number] == varint(number)


@pytest.mark.parametrize(("numbers", "bits"), [(INTS, 31), (LONGS, 63)], ids=["int", "long"])
def test_a_number_out_of_its_range_is_refused(numbers: dict[int, bytes], bits: int) -> None:
    assert numbers[2**bits - 1] == varint(2**bits - 1)
    assert numbers[-(2**bits)] == varint(-(2**bits))
    for number in (2**bits, -(2**bits) - 1):
        with pytest.raises(ValueError, match=r"^$"):
            numbers[number]


@pytest.mark.parametrize("kept", [HIGH_BITS, HIGH_BYTES], ids=["bits", "bytes"])
def test_what_is_kept_is_bounded_however_many_numbers_come(kept: dict[int, bytes]) -> None:
    for number in range(2, 100_000):
        kept[number]
        assert len(kept) <= 1 << 15


def test_small_numbers_are_all_that_a_table_of_varints_keeps() -> None:
    before = len(LONGS)
    for number in range(10**6, 10**6 + 1_000):
        LONGS[number]

    assert len(LONGS) == before


@given(st.integers(-(10**30), 10**30))
def test_a_decimals_bytes_are_its_twos_complement_after_their_size(number: int) -> None:
    made = decimal_bytes(number)

    assert made[:1] == by_hand(len(made) - 1)
    assert int.from_bytes(made[1:], "big", signed=True) == number


@given(st.integers(1, 38).flatmap(lambda p: st.tuples(st.just(p), st.integers(0, p))), st.data())
def test_a_decimal_in_its_smallest_unit_is_exact_or_an_error(
    digits: tuple[int, int], data: st.DataObject
) -> None:
    precision, scale = digits
    schema = decimal(precision, scale)
    whole = data.draw(st.integers(1 - 10**precision, 10**precision - 1))
    value = Decimal((int(whole < 0), tuple(map(int, str(abs(whole)))), -scale))

    assert unscaled(value, schema) == whole
    finer = Decimal((0, (*value.as_tuple().digits, 5), -scale - 1))
    for wrong in (finer, Decimal(10) ** (precision - scale), Decimal("NaN"), Decimal("-Infinity")):
        with pytest.raises((ArithmeticError, ValueError)):
            unscaled(wrong, schema)
