"""Blockers of a rotation, as listed in a status."""

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
    """Return the sentences, cut to the number and length that a status can hold."""
    return tuple(each[:LONGEST_BLOCKER] for each in sentences[:MOST_BLOCKERS])
