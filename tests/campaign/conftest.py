"""Unexpected errors of the operator end a campaign."""

from collections.abc import Iterator

import pytest
import structlog
from structlog import DropEvent
from structlog.typing import EventDict


def fail_with_the_operator(_logger: object, level: str, event: EventDict) -> EventDict:
    """Raise if the event is an error; drop all other events."""
    if level == "error":
        raise AssertionError(event["event"])
    raise DropEvent


@pytest.fixture(autouse=True)
def _no_errors() -> Iterator[None]:
    structlog.configure(processors=[fail_with_the_operator])
    yield
    structlog.reset_defaults()
