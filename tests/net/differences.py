"""Differences from the record, in a form for people."""

import difflib
from itertools import islice

from tests.net.record import COVERAGE, WORLDS, kept
from tests.net.worlds import EACH

LINES = 60
WRITE = "if it is meant, run `python -m tests.net --write` and review its difference"


def differences(name: str, made: str) -> str:
    """Return the difference between a recorded file and its new text; empty if there is none."""
    before = kept(name)
    if before == made:
        return ""
    if name == WORLDS:
        return f"{_worlds(before, made)}; {WRITE}"
    lines = difflib.unified_diff(
        before.splitlines(), made.splitlines(), f"recorded/{name}", "made now", lineterm="", n=1
    )
    shown = list(islice(lines, LINES + 1))
    more = "… and more" if len(shown) > LINES else ""
    again = "counts follow from the worlds" if name == COVERAGE else "it differs from the record"
    return "\n".join((f"{name}: {again}; {WRITE}", *shown[:LINES], more))


def _worlds(before: str, made: str) -> str:
    """Return which worlds differ, and how to show the first one."""
    was, now = before.splitlines(), made.splitlines()
    differing = [number for number, line in enumerate(now) if was[number : number + 1] != [line]]
    first: dict[int, int] = {}
    for number in differing:
        first.setdefault(number // EACH, number)
    named = ", ".join(map(str, islice(first.values(), 20)))
    if not differing:
        return "there are fewer worlds than were recorded"
    return (
        f"{len(differing)} of {len(now)} worlds are not as recorded, first of their clusters: "
        f"{named}. See how: run `python -m tests.net --world {differing[0]}` here and in a "
        "checkout of before, and compare the two"
    )
