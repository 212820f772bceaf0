"""Renders the phases of a rotation, and durations in short form."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

from rich.text import Text

_UNITS = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1)))


def track(phases: Iterable[StrEnum], phase: str) -> Text:
    """Return all phases in order, the current one in brackets."""
    text, passed = Text(), True
    for each in phases:
        here = each.value == phase
        passed = passed and not here
        style = "bold cyan" if here else "green" if passed else "dim"
        text.append(" → " if text else "", "dim")
        text.append(f"[{each.value}]" if here else each.value, style)
    return text


def length(span: timedelta) -> str:
    """Return a duration in the largest unit that fits at least twice: `90s`, `36h`, `29d`."""
    for unit, size in _UNITS:
        if span >= 2 * size:
            return f"{span // size}{unit}"
    return f"{max(int(span.total_seconds()), 0)}s"


def since(moment: datetime, now: datetime) -> str:
    """Return how long ago a moment was: `3h ago`."""
    return f"{length(now - moment)} ago"


def until(moment: datetime, now: datetime) -> str:
    """Return how far ahead a moment is: `in 3h`, or `now` if it has passed."""
    return f"in {length(moment - now)}" if moment > now else "now"
