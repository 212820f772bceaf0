"""Times in documents: RFC 3339 in UTC, to the second."""

from datetime import UTC, datetime

_LONGEST = 40


def stamp(moment: datetime) -> str:
    """Return a time as text."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def instant(text: object) -> datetime:
    """Return the time of a text; raises `ValueError` if it is none or names no offset."""
    if not isinstance(text, str) or len(text) > _LONGEST:
        raise ValueError("not a time")
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a time without an offset from UTC")
    return found.astimezone(UTC)
