"""Words in names: of objects, keys, variables, hosts and paths."""

import re

_LONGEST = 512
_RUN = re.compile(r"[A-Za-z0-9]+")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def words(*names: str) -> list[str]:
    """Return the words of names in lower case.

    Signs separate words. Of a word with capitals or digits inside, the parts follow it.
    """
    found = []
    for name in names:
        for run in _RUN.findall(name[:_LONGEST]):
            parts = _PART.findall(run)
            found += [run.lower(), *(each.lower() for each in parts if len(parts) > 1)]
    return found


def vocabulary(text: str) -> frozenset[str]:
    """Return the words of a text, as they are."""
    return frozenset(text.split())
