"""Number of values in Protobuf's wire format, counted before the library allocates messages.

A message takes memory for each field of its type, even if the data has none of them: an empty one
of a hundred fields has two bytes on the wire, and a kilobyte in memory. So each field in the data
counts as a value, and each message counts all fields of its type as well.

Source: Protobuf's encoding, https://protobuf.dev/programming-guides/encoding.
"""

from dataclasses import dataclass, field

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from troth.edge.events.schemas.validator import MOST_VALUES

UNKNOWN = "the message has a field that its schema does not have"
MALFORMED = "the data is not a message, or is nested too deeply"

_DEEPEST = 100  # as in the library
_VARINT, _FIXED64, _LENGTH, _START, _, _FIXED32 = range(6)
_PLAIN = frozenset({_VARINT, _FIXED64, _LENGTH, _FIXED32})
_LONGEST_VARINT = 10
_LAST = 0x7F
"""A greater byte of a number is followed by another one."""
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_CONTINUED = bytes(range(0x80, 0x100))
_WIRE = {
    FieldDescriptor.TYPE_STRING: _LENGTH,
    FieldDescriptor.TYPE_BYTES: _LENGTH,
    FieldDescriptor.TYPE_MESSAGE: _LENGTH,
    FieldDescriptor.TYPE_GROUP: _START,
    FieldDescriptor.TYPE_DOUBLE: _FIXED64,
    FieldDescriptor.TYPE_FIXED64: _FIXED64,
    FieldDescriptor.TYPE_SFIXED64: _FIXED64,
    FieldDescriptor.TYPE_FLOAT: _FIXED32,
    FieldDescriptor.TYPE_FIXED32: _FIXED32,
    FieldDescriptor.TYPE_SFIXED32: _FIXED32,
}


class ScanError(Exception):
    """Raised for data that is not to be parsed. The text is the fault."""


@dataclass(eq=False, slots=True)
class Layout:
    """Fields of a message type by their tags on the wire.

    `packed` has the wire type of the elements for each tag of a packed field, and `below` the
    layout for each tag of a message.
    """

    weight: int
    tags: set[int] = field(default_factory=set)
    packed: dict[int, int] = field(default_factory=dict)
    below: dict[int, "Layout"] = field(default_factory=dict)


class Scan:
    """Counts the values in the data of one message type."""

    def __init__(self, descriptor: Descriptor) -> None:
        """Read the layouts of a type and of all types below it."""
        layouts: dict[str, Layout] = {}
        self._layout = _layout(descriptor, layouts)
        self._heaviest = max(each.weight for each in layouts.values())

    def check(self, data: bytes) -> None:
        """Raise `ScanError` if the data has too many values, or is certainly not valid."""
        # A message has two bytes at least, and each element of a packed field one.
        if len(data) * (self._heaviest + 2) // 2 > MOST_VALUES:
            self.count(data)

    def count(self, data: bytes) -> None:
        """Do what `check` does, even if the data is too small to have too many values."""
        _Reader(data).message(0, len(data), self._layout, 0)


def _layout(descriptor: Descriptor, layouts: dict[str, Layout]) -> Layout:
    found = layouts.get(descriptor.full_name)
    if found is not None:
        return found
    layout = layouts[descriptor.full_name] = Layout(len(descriptor.fields))
    extensions = descriptor.file.pool.FindAllExtensions(descriptor)
    for each in (*descriptor.fields, *extensions):
        wire = _WIRE.get(each.type, _VARINT)
        tag = each.number << 3 | wire
        layout.tags.add(tag)
        if wire in (_LENGTH, _START):
            if each.message_type is not None:
                layout.below[tag] = _layout(each.message_type, layouts)
        elif each.is_repeated:
            packed = each.number << 3 | _LENGTH
            layout.tags.add(packed)
            layout.packed[packed] = wire
    return layout


class _Reader:
    """Counts the values of some data down from the most that it may have."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = MOST_VALUES

    def message(self, at: int, end: int, layout: Layout, depth: int, until: int = 0) -> int:
        """Return the end of a message, or with `until` that of a group, behind this tag."""
        if depth > _DEEPEST:
            raise ScanError(MALFORMED)
        while at < end:
            tag, at = self._varint(at, end)
            self._count(1)
            if tag == until:
                return at
            at = self._field(at, end, layout, depth, tag)
        if at > end or until:
            raise ScanError(MALFORMED)
        return at

    def _field(self, at: int, end: int, layout: Layout, depth: int, tag: int) -> int:
        if tag not in layout.tags:
            is_field = tag >> 3 and tag & 7 in _PLAIN
            raise ScanError(UNKNOWN if is_field else MALFORMED)
        wire, below = tag & 7, layout.below.get(tag)
        if below is not None:
            self._count(below.weight)
            if wire == _START:
                return self.message(at, end, below, depth + 1, tag + 1)
        if wire == _VARINT:
            return self._varint(at, end)[1]
        if wire != _LENGTH:
            return at + _SIZES[wire]
        size, at = self._varint(at, end)
        if size > end - at:
            raise ScanError(MALFORMED)
        if below is not None:
            self.message(at, at + size, below, depth + 1)
        elif tag in layout.packed:
            self._count(_elements(self._data[at : at + size], layout.packed[tag]))
        return at + size

    def _count(self, values: int) -> None:
        self._left -= values
        if self._left < 0:
            raise ScanError(f"the data has more than {MOST_VALUES} values")

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """Return the number at a position, and the position behind it."""
        if at < end and self._data[at] <= _LAST:
            return self._data[at], at + 1
        value = 0
        for shift in range(0, _LONGEST_VARINT * 7, 7):
            if at >= end:
                break
            byte = self._data[at]
            at += 1
            value |= (byte & _LAST) << shift
            if byte <= _LAST:
                return value, at
        raise ScanError(MALFORMED)


def _elements(packed: bytes, wire: int) -> int:
    size = _SIZES.get(wire)
    return len(packed.translate(None, _CONTINUED)) if size is None else len(packed) // size
