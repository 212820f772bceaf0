"""`identity.json`: what a service needs to verify its peers, beside its certificate.

Written into the identity's Secret; read by services, by `troth.edge` and by the sandbox's
workload. A service accepts a caller whose certificate verifies against `ca.crt`, whose SPIFFE ID
is listed for the port, and grants it the scopes listed there and no others.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from troth.resources.references import Ref
from troth.resources.service_identity import ServiceIdentity
from troth.resources.service_identity_status import EdgeState
from troth.trust.edges import Edge

VERSION = "v1alpha1"


def identity_document(
    identity: ServiceIdentity,
    spiffe_id: str,
    edges: tuple[Edge, ...],
    spiffe_ids: Mapping[Ref, str],
) -> str:
    """Return the text of `identity.json`: live edges only, sorted, ending in a newline.

    `spiffe_ids` has the SPIFFE ID of every peer of a live edge that has one to prove; a gatewayOnly
    callee has none, and a file about whom to verify says nothing of it.
    """
    me = identity.ref
    live = [edge for edge in edges if edge.state is EdgeState.LIVE]
    scopes = _scopes(identity)
    accepts: dict[Ref, list[str]] = {}
    calls: dict[Ref, list[str]] = {}
    for edge in live:
        if edge.callee == me:
            accepts.setdefault(edge.caller, []).append(edge.port)
        if edge.caller == me:
            calls.setdefault(edge.callee, []).append(edge.port)
    document: dict[str, Any] = {
        "version": VERSION,
        "spiffeID": spiffe_id,
        "accepts": [
            {
                "spiffeID": spiffe_ids[caller],
                "ports": [
                    {"name": port, "scopes": sorted(scopes.get((caller, port), ()))}
                    for port in sorted(ports)
                ],
            }
            for caller, ports in sorted(accepts.items())
        ],
        "calls": [
            {"name": str(callee), "spiffeID": spiffe_ids[callee], "ports": sorted(ports)}
            for callee, ports in sorted(calls.items())
            if callee in spiffe_ids
        ],
        "requires": {"context": sorted(item.value for item in identity.spec.requires.context)},
    }
    return to_json(document, indent=2).decode() + "\n"


def standing_document(text: str) -> Mapping[str, Any]:
    """Return what an `identity.json` says, or nothing where it is not one."""
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def listed(document: Mapping[str, Any], port: str, *, inbound: bool) -> frozenset[str]:
    """Return the SPIFFE IDs that a document lists for a port, as callers or as callees."""
    found: set[str] = set()
    for entry in _entries(document.get("accepts" if inbound else "calls")):
        ports = entry.get("ports")
        if isinstance(ports, list) and isinstance(entry.get("spiffeID"), str):
            names = [each.get("name") if isinstance(each, dict) else each for each in ports]
            if port in names:
                found.add(entry["spiffeID"])
    return frozenset(found)


def _entries(part: object) -> list[dict[str, Any]]:
    return [each for each in part if isinstance(each, dict)] if isinstance(part, list) else []


def _scopes(identity: ServiceIdentity) -> Mapping[tuple[Ref, str], set[str]]:
    """Return the scopes that an identity grants, by caller and port."""
    scopes: dict[tuple[Ref, str], set[str]] = {}
    for accepted in identity.spec.accepts:
        if accepted.from_:
            caller = accepted.from_.seen_from(identity.ref.namespace)
            for port in accepted.ports:
                scopes.setdefault((caller, port), set()).update(accepted.scopes)
    return scopes
