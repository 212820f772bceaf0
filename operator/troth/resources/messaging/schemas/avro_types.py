"""Types of Avro schemas, with names resolved."""

from dataclasses import dataclass, field
from typing import Any

MOST_PRECISION = 1000
"""Maximum precision of a decimal: the time to read one grows with its square."""


@dataclass(frozen=True, slots=True)
class Decimal:
    """Precision and scale of a decimal in bytes or fixed."""

    precision: int
    scale: int


@dataclass(frozen=True, slots=True, eq=False)
class Primitive:
    """null, boolean, int, long, float, double, bytes or string, with its logical type if any."""

    name: str
    logical: str = ""
    decimal: Decimal | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """What record, enum and fixed share: the full name, and the full names of aliases."""

    name: str
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Fixed(Named):
    """Number of bytes with a name."""

    size: int
    logical: str = ""
    decimal: Decimal | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Enum(Named):
    """Symbols, and the one that a reader uses for an unknown symbol."""

    symbols: tuple[str, ...]
    default: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    """Items of one type."""

    items: "AvroType"


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """Values of one type by strings."""

    values: "AvroType"


@dataclass(frozen=True, slots=True, eq=False)
class Union:
    """One of several types."""

    branches: "tuple[AvroType, ...]"


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """Field of a record."""

    name: str
    aliases: tuple[str, ...]
    type: "AvroType"
    has_default: bool
    default: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Record(Named):
    """Fields in the order of their encoding. The list is filled last: a record may refer to
    itself.
    """

    fields: list[Field] = field(repr=False)


AvroType = Primitive | Fixed | Enum | Array | Map | Union | Record


def kind_of(type_: AvroType) -> str:
    """Return the name of a type for a sentence: its full name, or the name of its kind."""
    match type_:
        case Primitive() | Named():
            return type_.name
        case Array():
            return "array"
        case Map():
            return "map"
        case Union():
            return "union"
