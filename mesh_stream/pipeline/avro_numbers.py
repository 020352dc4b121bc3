"""Whole numbers and decimals as Avro writes them, by look-up where that is possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import Any

INT_MIN, INT_MAX = -(1 << 31), (1 << 31) - 1
LONG_MIN, LONG_MAX = -(1 << 63), (1 << 63) - 1


def varint(number: int) -> bytes:
    """A signed number in Avro's zig-zag variable-length form."""
    return _seven_bits_each((number << 1) ^ (number >> 63))


def _seven_bits_each(rest: int) -> bytes:
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


class _Varints(dict[int, bytes]):
    """Small numbers by look-up, the rest by computing; never grows. ValueError out of range."""

    def __init__(self, low: int, high: int) -> None:
        super().__init__((number, varint(number)) for number in range(-64, 8192))
        self._low, self._high = low, high

    def __missing__(self, number: int) -> bytes:
        if not self._low <= number <= self._high:
            raise ValueError
        return varint(number)


INTS, LONGS = _Varints(INT_MIN, INT_MAX), _Varints(LONG_MIN, LONG_MAX)


class _Kept(dict[int, bytes]):
    """What a function makes of numbers that come again, kept; at most a few megabytes of them."""

    def __init__(self, compute: Callable[[int], bytes]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, number: int) -> bytes:
        if len(self) >= 1 << 15:
            self.clear()
        made = self[number] = self._compute(number)
        return made


# A large number in two look-ups: its low thirteen bits with the continuation bits set, and the
# rest, which for a timestamp in milliseconds changes every eight seconds.
LOW_BITS = [bytes((n << 1 & 0x7F | 0x80, n >> 6 | 0x80)) for n in range(1 << 13)]
HIGH_BITS = _Kept(_seven_bits_each)
# A whole number of two or three bytes, its size before it: all but the last byte.
HIGH_BYTES = _Kept(lambda high: decimal_bytes(high << 8)[:-1])
BYTES = [bytes((number,)) for number in range(256)]


def unscaling(schema: Mapping[str, Any]) -> tuple[Any, Decimal, Any]:
    """What makes a decimal a whole number of its smallest unit: exactly, or it raises.

    Returns:
        `scale_up`, `scale` and `exact`, to be used as `int(exact(scale_up(value, scale)))`.
    """
    precision, scale = schema["precision"], schema.get("scale", 0)
    # Has room for what fits the type, and nothing else: more digits are inexact, a larger number
    # overflows. That bounds the cost, too: `1e999999` is eight bytes of JSON, as an integer it
    # takes minutes.
    context = Context(
        prec=precision, Emax=precision - 1, traps=[Inexact, InvalidOperation, Overflow]
    )
    return context.scaleb, Decimal(scale), context.to_integral_exact


def unscaled(value: Decimal, schema: Mapping[str, Any]) -> int:
    """The decimal as a whole number of its smallest unit; exact, or an error."""
    scale_up, scale, exact = unscaling(schema)
    return int(exact(scale_up(value, scale)))


def decimal_bytes(unscaled: int) -> bytes:
    """Two's complement, big-endian, in as many bytes as fastavro writes (for -128, two), sized."""
    size = (unscaled.bit_length() + 8) >> 3
    return varint(size) + unscaled.to_bytes(size, "big", signed=True)
