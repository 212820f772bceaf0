"""An error that the operator has no sentence for ends a campaign."""

from collections.abc import Iterator

import pytest
import structlog
from structlog import DropEvent
from structlog.typing import EventDict


def fail_with_the_operator(_logger: object, level: str, event: EventDict) -> EventDict:
    """End what has met such an error; say nothing else."""
    if level == "error":
        raise AssertionError(event["event"])
    raise DropEvent


@pytest.fixture(autouse=True)
def _no_errors() -> Iterator[None]:
    structlog.configure(processors=[fail_with_the_operator])
    yield
    structlog.reset_defaults()
