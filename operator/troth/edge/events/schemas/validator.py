"""What validators of all formats share: the result of a check, and the bounds on data."""

from dataclasses import dataclass, field
from typing import Any, Final, Protocol

MOST_BYTES: Final = 4 * 1024 * 1024
"""Maximum size of data. Brokers allow 1 MiB by default."""
MOST_VALUES: Final = 250_000
"""Maximum number of values in data in JSON or Avro: 8 bytes of data can cost 100 of memory."""
DEEPEST: Final = 64
"""Maximum nesting of data in JSON or Avro. The Protobuf library allows 100 messages."""

TOO_LARGE: Final = f"the data is larger than {MOST_BYTES // 2**20} MiB"

_LONGEST_PLACE = 200


class UnusableSchemaError(Exception):
    """Raised for a schema that cannot be compiled."""


@dataclass(frozen=True, slots=True)
class Checked:
    """Result of a check: the parsed data if it satisfies the schema, or the fault.

    The fault quotes nothing of the data, so it may be logged.
    """

    payload: Any = field(repr=False, default=None)
    """A JSON value; for Avro a Python value with dates, decimals and UUIDs; for Protobuf a
    message."""
    fault: str | None = None


class Validator(Protocol):
    """Checks data against one schema. It may be used by several threads."""

    def check(self, data: bytes) -> Checked:
        """Return the parsed data, or why it does not satisfy the schema."""


def place_of(steps: list[str]) -> str:
    """Return the place of a fault within data."""
    path = "/" + "/".join(steps)
    return path if len(path) <= _LONGEST_PLACE else f"{path[: _LONGEST_PLACE - 1]}…"
