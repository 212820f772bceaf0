"""Grants in an `identity.json`, to find those that are no longer declared.

Reading is lenient. A grant that cannot be read counts as one that is too much.
"""

from collections.abc import Iterator

from troth.documents.identity.deliveries import listed_in
from troth.documents.identity.reading import Members
from troth.resources.schema.bounded_json import objects_in

Grants = dict[tuple[str, str], frozenset[str]]
"""Rights of a peer on a port, by SPIFFE ID and port."""

TOO_MUCH = "*"
"""Placeholder for a grant that cannot be read."""


def accepted(document: Members) -> Grants:
    """Return every caller's scopes on every port, and the context it may forward."""
    grants: Grants = {}
    for entry in objects_in(document.get("accepts")):
        spiffe_id, ports = entry.get("spiffeID"), entry.get("ports")
        for port in ports if isinstance(ports, list) else [{}]:
            given = port if isinstance(port, dict) else {}
            name = given.get("name")
            place = str(spiffe_id), name if isinstance(name, str) else TOO_MUCH
            said = {f"scope {scope}" for scope in _words(given.get("scopes"))}
            said |= {f"forwards {part}" for part in _words(given.get("forwards", []))}
            grants[place] = grants.get(place, frozenset()) | said
    return grants


def delivered(document: Members) -> Grants:
    """Return the endpoints and the signing keys of every webhook gateway on every port."""
    grants: Grants = {}
    for each in listed_in(document):
        place = each.gateway, each.port
        endpoint = f"endpoint {each.endpoint} {each.path} {each.workflow}"
        grants[place] = grants.get(place, frozenset()) | {endpoint}
    for entry in objects_in(document.get("webhooks")):
        keys = entry.get("keys")
        listed = objects_in(keys.get("keys")) if isinstance(keys, dict) else []
        place = str(entry.get("gateway")), str(entry.get("port"))
        grants[place] = grants.get(place, frozenset()) | {f"key {key.get('kid')}" for key in listed}
    return grants


def called(document: Members) -> Iterator[tuple[str, str | None]]:
    """Yield every callee: its name, and its SPIFFE ID, None if that cannot be read."""
    for entry in objects_in(document.get("calls")):
        name, spiffe_id = entry.get("name"), entry.get("spiffeID")
        if isinstance(name, str):
            yield name, spiffe_id if isinstance(spiffe_id, str) else None


def requires_less(current: Members, wanted: Members) -> bool:
    """Return whether `current` requires less of callers than `wanted`, or trusts other issuers."""
    before, after = _object(current.get("requires")), _object(wanted.get("requires"))
    if not set(_words(after.get("context", []))) <= set(_words(before.get("context", []))):
        return True
    if "token" in after and before.get("token") != after["token"]:
        return True
    return any(
        not _object(current.get(part)).items() <= _object(wanted.get(part)).items()
        for part in ("issuers", "issuerIDs")
    )


def _words(part: object) -> list[str]:
    """Return the strings of a list, with `TOO_MUCH` for each part that is not a string."""
    if not isinstance(part, list):
        return [TOO_MUCH]
    return [each if isinstance(each, str) else TOO_MUCH for each in part]


def _object(part: object) -> Members:
    return part if isinstance(part, dict) else {}
