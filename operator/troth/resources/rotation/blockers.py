"""What the replacement of a credential waits for, as a status tells it."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, StringConstraints

from troth.resources.schema.lists import ATOMIC

MOST_BLOCKERS = 16
LONGEST_BLOCKER = 1024

Blockers = Annotated[
    tuple[Annotated[str, StringConstraints(max_length=LONGEST_BLOCKER)], ...],
    Field(max_length=MOST_BLOCKERS, json_schema_extra=ATOMIC),
]


def fitting(sentences: Sequence[str]) -> tuple[str, ...]:
    """Return as many of the sentences, and as much of each, as a status has room for."""
    return tuple(each[:LONGEST_BLOCKER] for each in sentences[:MOST_BLOCKERS])
