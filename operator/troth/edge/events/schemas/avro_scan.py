"""Scan of data in Avro's binary encoding (Avro 1.12), before fastavro decodes it.

fastavro reads any number of nulls from a few bytes, follows records without a limit of depth, and
takes negative indices of symbols and branches. A scan makes no values: it follows the lengths in
the data, and rejects what no writer of the schema can have written.
"""

import struct
from collections.abc import Callable
from typing import Final

from troth.edge.events.schemas.validator import DEEPEST, MOST_VALUES
from troth.resources.messaging.schemas.avro_types import (
    Array,
    AvroType,
    Decimal,
    Enum,
    Fixed,
    Map,
    Primitive,
    Record,
    Union,
)

Scan = Callable[[bytes, int, int, list[int]], int]
"""Returns the end of a value in data, given its start, its depth, and the values left in a list of
one number. Raises `ScanError`, or `IndexError` at the end of the data."""

_LONGEST_VARINT: Final = 63
_DAYS: Final = range(-719_162, 2_932_897)
"""Days from 1970-01-01 that Python's dates have: the years 1 to 9999."""
_RANGES: Final = {
    "date": _DAYS,
    "time-millis": range(86_400_000),
    "time-micros": range(86_400_000_000),
    "timestamp-millis": range(_DAYS.start * 86_400_000, _DAYS.stop * 86_400_000),
    "local-timestamp-millis": range(_DAYS.start * 86_400_000, _DAYS.stop * 86_400_000),
    "timestamp-micros": range(_DAYS.start * 86_400_000_000, _DAYS.stop * 86_400_000_000),
    "local-timestamp-micros": range(_DAYS.start * 86_400_000_000, _DAYS.stop * 86_400_000_000),
}
_INT: Final = range(-(2**31), 2**31)
_LONG: Final = range(-(2**63), 2**63)


class ScanError(Exception):
    """Raised for data that is not a value of the schema. `steps` is the path, innermost first."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.steps: list[str] = []


def scan_of(type_: AvroType) -> Scan:
    """Return the scan of a type."""
    return _Compiler().scan(type_)


class _Compiler:
    def __init__(self) -> None:
        self._records: dict[int, Scan] = {}

    def scan(self, type_: AvroType) -> Scan:
        match type_:
            case Primitive():
                return _primitive(type_)
            case Fixed():
                return _fixed(type_.size, type_.decimal)
            case Enum():
                return _enum(len(type_.symbols))
            case Array():
                return _blocks(self.scan(type_.items), keys=False)
            case Map():
                return _blocks(self.scan(type_.values), keys=True)
            case Union():
                return _union([self.scan(each) for each in type_.branches])
            case Record():
                return self._record(type_)

    def _record(self, record: Record) -> Scan:
        if id(record) in self._records:
            return self._records[id(record)]
        fields: list[tuple[str, Scan]] = []
        count = len(record.fields)

        def scan(data: bytes, at: int, depth: int, left: list[int]) -> int:
            _check_depth(depth)
            _take(left, count)
            for name, each in fields:
                try:
                    at = each(data, at, depth + 1, left)
                except ScanError as error:
                    error.steps.append(name)
                    raise
            return at

        self._records[id(record)] = scan
        fields += [(each.name, self.scan(each.type)) for each in record.fields]
        return scan


def _primitive(type_: Primitive) -> Scan:
    match type_.name:
        case "null":
            return lambda _data, at, _depth, _left: at
        case "boolean":
            return _boolean
        case "int" | "long":
            whole = _INT if type_.name == "int" else _LONG
            return _number(_RANGES.get(type_.logical, whole))
        case "float":
            return _skip(struct.calcsize("<f"))
        case "double":
            return _skip(struct.calcsize("<d"))
        case _:
            return _bytes_of(type_.decimal)


def _boolean(data: bytes, at: int, _depth: int, _left: list[int]) -> int:
    if data[at] > 1:
        raise ScanError("the data has neither true nor false")
    return at + 1


def _number(allowed: range) -> Scan:
    least, most = allowed.start, allowed.stop

    def scan(data: bytes, at: int, _depth: int, _left: list[int]) -> int:
        number, at = _varint(data, at)
        if not least <= number < most:
            raise ScanError("a number is outside the range of its type")
        return at

    return scan


def _skip(size: int) -> Scan:
    def scan(data: bytes, at: int, _depth: int, _left: list[int]) -> int:
        return _within(data, at + size)

    return scan


def _fixed(size: int, decimal: Decimal | None) -> Scan:
    if decimal is None:
        return _skip(size)

    def scan(data: bytes, at: int, _depth: int, _left: list[int]) -> int:
        end = _within(data, at + size)
        _check_decimal(data[at:end], decimal)
        return end

    return scan


def _bytes_of(decimal: Decimal | None) -> Scan:
    def scan(data: bytes, at: int, _depth: int, _left: list[int]) -> int:
        size, at = _varint(data, at)
        if size < 0:
            raise ScanError("a length is negative")
        end = _within(data, at + size)
        if decimal is not None:
            _check_decimal(data[at:end], decimal)
        return end

    return scan


def _enum(count: int) -> Scan:
    def scan(data: bytes, at: int, _depth: int, _left: list[int]) -> int:
        number, at = _varint(data, at)
        if not 0 <= number < count:
            raise ScanError("the enum has no symbol of this number")
        return at

    return scan


def _union(branches: list[Scan]) -> Scan:
    count = len(branches)

    def scan(data: bytes, at: int, depth: int, left: list[int]) -> int:
        number, at = _varint(data, at)
        if not 0 <= number < count:
            raise ScanError("the union has no branch of this number")
        return branches[number](data, at, depth, left)

    return scan


def _blocks(item: Scan, *, keys: bool) -> Scan:
    """Return the scan of an array or a map: blocks with their count, until an empty one."""
    key = _bytes_of(None)

    def scan(data: bytes, at: int, depth: int, left: list[int]) -> int:
        _check_depth(depth)
        while True:
            count, at = _varint(data, at)
            if count == 0:
                return at
            end = None
            if count < 0:
                count = -count
                size, at = _varint(data, at)
                end = at + size
            _take(left, count)
            for position in range(count):
                try:
                    if keys:
                        at = key(data, at, depth, left)
                    at = item(data, at, depth + 1, left)
                except ScanError as error:
                    error.steps.append("*" if keys else str(position))
                    raise
            if end is not None and at != end:
                raise ScanError("a block has another size than it says")

    return scan


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number in zigzag encoding, in its shortest form, and its end."""
    byte = data[at]
    if byte < 0x80:  # noqa: PLR2004 - the bit that continues
        return (byte >> 1) ^ -(byte & 1), at + 1
    number, shift = byte & 0x7F, 7
    while True:
        at += 1
        byte = data[at]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the bit that continues
            break
        shift += 7
        if shift > _LONGEST_VARINT:
            raise ScanError("a number is longer than 64 bits")
    if byte == 0 or number >= 1 << 64:
        raise ScanError("a number is longer than it needs to be, or than 64 bits")
    return (number >> 1) ^ -(number & 1), at + 1


def _within(data: bytes, end: int) -> int:
    if end > len(data):
        raise IndexError
    return end


def _check_depth(depth: int) -> None:
    if depth > DEEPEST:
        raise ScanError(f"the data is nested deeper than {DEEPEST} levels")


def _take(left: list[int], count: int) -> None:
    left[0] -= count
    if left[0] < 0:
        raise ScanError(f"the data has more than {MOST_VALUES} values")


def _check_decimal(raw: bytes, decimal: Decimal) -> None:
    # fastavro would round it, and needs time that grows with the square of the length
    if len(raw) > decimal.precision or not raw:
        raise ScanError("a decimal is empty, or longer than its precision allows")
    if abs(int.from_bytes(raw, "big", signed=True)) >= 10**decimal.precision:
        raise ScanError("a decimal has more digits than its precision allows")
