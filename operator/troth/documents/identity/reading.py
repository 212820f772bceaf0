"""Lenient reading of a stored `identity.json`.

Other clients may have changed it, so the operator and `troth plan` read what can be read. An entry
that cannot be read counts as not listed. Services read the whole strictly (`document`).
"""

from collections.abc import Mapping
from typing import Any

from troth.resources.schema.bounded_json import objects_in, read_json

Members = Mapping[str, Any]
"""Members of an `identity.json`, which have not been checked."""


def parsed(text: str) -> Members:
    """Return a parsed `identity.json`, empty if it is not a JSON object or nests too deeply."""
    try:
        document = read_json(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def string_map(document: Members, member: str) -> Mapping[str, str]:
    """Return a member that maps strings to strings, empty if it does not."""
    found = document.get(member)
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        return {}
    return found


def listed(document: Members, port: str, *, inbound: bool) -> frozenset[str]:
    """Return the SPIFFE IDs listed for a port: of callers if `inbound`, otherwise of callees."""
    found: set[str] = set()
    for entry in objects_in(document.get("accepts" if inbound else "calls")):
        ports = entry.get("ports")
        if isinstance(ports, list) and isinstance(entry.get("spiffeID"), str):
            names = [each.get("name") if isinstance(each, dict) else each for each in ports]
            if port in names:
                found.add(entry["spiffeID"])
    return frozenset(found)
