"""A time that replaces now, as an option."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic_core import PydanticCustomError

from troth.resources.schema.scalars import parse_moment

At = Annotated[
    str,
    typer.Option("--at", help="Time to use instead of now: seconds since 1970, or RFC 3339."),
]


def read_moment(text: str, now: datetime) -> float:
    """Parse a time to seconds since 1970; raises `typer.BadParameter`."""
    if not text:
        return now.timestamp()
    if text.isascii() and text.isdigit() and len(text) <= len("99999999999"):
        return float(text)
    try:
        return parse_moment(text).astimezone(UTC).timestamp()
    except (ValueError, PydanticCustomError):
        raise typer.BadParameter(
            f"--at: {text!r} is not a time; write seconds since 1970, or 2026-11-26T10:00:00Z"
        ) from None
