"""The phases of a rotation as a track, and lengths of time in a word."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

from rich.text import Text

_UNITS = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1)))


def track(phases: Iterable[StrEnum], phase: str) -> Text:
    """Return all phases in their order, the present one in brackets."""
    text, passed = Text(), True
    for each in phases:
        here = each.value == phase
        passed = passed and not here
        style = "bold cyan" if here else "green" if passed else "dim"
        text.append(" → " if text else "", "dim")
        text.append(f"[{each.value}]" if here else each.value, style)
    return text


def length(span: timedelta) -> str:
    """Return a length in the largest unit of which it has two at least: `90s`, `36h`, `29d`."""
    for unit, size in _UNITS:
        if span >= 2 * size:
            return f"{span // size}{unit}"
    return f"{max(int(span.total_seconds()), 0)}s"


def since(moment: datetime, now: datetime) -> str:
    """Return how long ago a moment was."""
    return f"{length(now - moment)} ago"


def until(moment: datetime, now: datetime) -> str:
    """Return how far away a moment is, or that it has come."""
    return f"in {length(moment - now)}" if moment > now else "now"
